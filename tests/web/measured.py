"""Leaves a kind's result where a finished run would: its stage's artifact, the summary, the columns of scores."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import BaseModel

from app.audits.base import Inputs, Result, Split
from app.services.membership import SCORES_FILE, score_file
from app.store.artifacts import artifact_key
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from workers.stages import results as saved


def stage_inputs(
    labels: np.ndarray, stage: str, found: dict[str, np.ndarray], params: BaseModel, earlier: Mapping[str, Path] = {}
) -> Inputs:
    """What the stage after `stage`, which works on the network, reads of the finished run."""
    manifest = pa.table({"row": np.arange(len(labels)) + TRAIN_ROWS, "label": labels.astype(np.int32)})
    model = {f"{stage}.{name}": array for name, array in found.items()}
    split = Split("val", manifest, None, None, None, model)
    return Inputs(split, None, CLASSES, params, 0, "cpu", None, earlier, lambda _share, _message: None)


def square(red: int, green: int) -> bytes:
    """A kept picture: a WebP of one colour."""
    target = io.BytesIO()
    Image.new("RGB", (8, 8), (red, green, 90)).save(target, "WEBP")
    return target.getvalue()


def publish(run_id: int, kind: str, stage: str, found: Result, version: str = "") -> None:
    """Give a run the result of a kind's stage; `version` tells results of different inputs apart."""
    key = artifact_key(kind, 3, test="web", stage=stage, of=version)
    if not get_artifacts().has(key):
        with get_artifacts().write(key) as folder:
            saved.save(found, folder)
    with transaction() as session:
        run = session.get_one(AuditRun, run_id)
        run.kinds = [*dict.fromkeys([*run.kinds, kind])]
        run.summary = {**run.summary, kind: found.summary}
        run.details_keys = {**run.details_keys, f"{kind}:{stage}": key}
        run.scores_key = _with_columns(run, found, key)


def _with_columns(run: AuditRun, found: Result, result: str) -> str:
    key = artifact_key("scores", 3, before=run.scores_key, result=result)
    if not get_artifacts().has(key):
        table = pq.read_table(score_file(run))
        for column in found.scores:
            name = column.name
            values = saved.column(np.asarray(column.values))
            table = (table.drop_columns(name) if name in table.column_names else table).append_column(name, values)
        with get_artifacts().write(key) as folder:
            pq.write_table(table, folder / SCORES_FILE)
    return key
