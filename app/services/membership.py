"""Which images a slice holds: rows named by the score table, or a stored set that people made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import Conflict, UserError
from app.store.artifacts import artifact_key
from app.store.models import AuditRun, Finding
from app.store.places import get_artifacts
from app.store.score_reader import ScoreReader
from app.store.score_rows import FILE as RECORDS_FILE
from app.store.score_rows import ScoreRows

Rows = NDArray[np.int64]
ROWS_FILE = "rows.npy"
SCORES_FILE = "scores.parquet"
MOST_ROWS = 100_000


def score_file(run: AuditRun) -> Path:
    """Return the run's `scores.parquet`.

    Raises:
        Conflict: the run has none yet.
    """
    if not run.scores_key:
        raise Conflict("This run has no results yet. Its page shows how far it is.")
    return get_artifacts().local(run.scores_key) / SCORES_FILE


def scores_of(run: AuditRun) -> ScoreReader:
    """Return the run's score table.

    Raises:
        Conflict: the run has none yet.
    """
    path = score_file(run)
    return ScoreReader(path, ScoreRows(_records(run, path)))


def _records(run: AuditRun, path: Path) -> Path:
    """The folder of the run's packed records, made at the first need and kept."""
    key, store = artifact_key("score-rows", 1, scores=run.scores_key), get_artifacts()
    if not store.has(key):
        with store.write(key) as folder:
            np.save(folder / RECORDS_FILE, ScoreReader(path).records())
    return store.local(key)


def member_rows(run: AuditRun, finding: Finding) -> Rows:
    """Return the slice's data set rows, sorted int64 [m]."""
    if finding.rows_key:
        stored: Rows = np.load(get_artifacts().local(finding.rows_key) / ROWS_FILE)
        return stored
    return scores_of(run).members(finding.key)


def store_rows(rows: Iterable[int]) -> tuple[str, str, Rows]:
    """Keep a set of rows as an artifact; return its key, the SHA-256 of its sorted int64 bytes, and the rows.

    Raises:
        UserError: no rows, or more than a slice can hold.
    """
    unique = np.unique(np.fromiter(rows, np.int64))
    if not 1 <= len(unique) <= MOST_ROWS:
        raise UserError(f"A slice holds 1 to {MOST_ROWS:,} images; {len(unique):,} were picked.")
    digest = hashlib.sha256(unique.astype("<i8").tobytes()).hexdigest()
    key = artifact_key("slice-rows", 1, rows=digest)
    if not get_artifacts().has(key):
        with get_artifacts().write(key) as folder:
            np.save(folder / ROWS_FILE, unique)
    return key, digest, unique
