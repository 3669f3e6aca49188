"""Leaves a kind's result where a finished run would: its stage's artifact, the summary, the columns of scores."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from app.audits.base import Result
from app.services.membership import SCORES_FILE, score_file
from app.store.artifacts import artifact_key
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.session import transaction
from workers.stages import results as saved


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
