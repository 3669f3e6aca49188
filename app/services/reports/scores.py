"""The per-example scores as a report hands them out: ids and class names, none of the house's own numbers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.services.membership import SCORES_FILE, score_file
from app.services.reports.schema import ReportContent
from app.store.artifacts import artifact_key
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.score_reader import numbers_of

COLUMNS = ("id", "split", "role", "label", "prediction", "confidence", "decision", "slices")
"""`role` is fit or confirm; `label` and `prediction` are class names, null where there is none; `slices` are keys of
the report's findings. Then come numbers that kinds measured of each example, such as `corruption_share`."""


def published_scores(run: AuditRun, content: ReportContent) -> Path:
    """Return a Parquet file with the `COLUMNS` and the kinds' own numbers, one row per example of the audited split.

    It is written once, then kept.

    Raises:
        Conflict: the run has no results yet.
    """
    source, classes = score_file(run), content.data.classes
    key = artifact_key("published-scores", 2, scores=run.scores_key, classes=classes)
    if not get_artifacts().has(key):
        with get_artifacts().write(key) as folder:
            _rewrite(source, folder / SCORES_FILE, pa.array(classes, pa.string()))
    return get_artifacts().local(key) / SCORES_FILE


def _rewrite(source: Path, target: Path, names: pa.Array) -> None:
    with pq.ParquetFile(source) as read:
        schema = _published(read.schema_arrow.empty_table(), names).schema
        with pq.ParquetWriter(target, schema) as writer:
            for batch in read.iter_batches():
                writer.write_table(_published(pa.Table.from_batches([batch]), names))


def _published(table: pa.Table, names: pa.Array) -> pa.Table:
    own = {
        "id": table["example_id"],
        "label": pa.chunked_array([names.take(table["label"].combine_chunks())], pa.string()),
        "prediction": pa.chunked_array([names.take(table["prediction"].combine_chunks())], pa.string()),
    }
    more = [name for name in numbers_of(table.schema) if name not in COLUMNS]
    return pa.table({name: own[name] if name in own else table[name] for name in (*COLUMNS, *more)})
