"""A stage's `Result` on disk: summary and findings as JSON, arrays as .npy, tables and scores as Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.audits.base import FindingDraft, Result


def save(result: Result, folder: Path) -> None:
    """Write a result: `<detail>.npy`, `<table>.parquet`, summary.json, findings.json, scores.json and .npz."""
    for name, array in result.details.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    for name, table in result.tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    _write(folder / "summary.json", result.summary)
    _write(folder / "findings.json", [_finding(draft) for draft in result.findings])
    rows = {f"f{i}": draft.rows for i, draft in enumerate(result.findings) if draft.rows is not None}
    np.savez(folder / "finding_rows.npz", allow_pickle=False, **rows)
    described = [{"name": s.name, "description": s.description, "direction": s.direction} for s in result.scores]
    _write(folder / "scores.json", described)
    pq.write_table(pa.table({s.name: column(s.values) for s in result.scores}), folder / "scores.parquet")


def summary(folder: Path) -> dict[str, Any]:
    """Return a stored summary."""
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def findings(folder: Path) -> list[FindingDraft]:
    """Return the stored findings, with their rows."""
    drafts = json.loads((folder / "findings.json").read_text())
    with np.load(folder / "finding_rows.npz", allow_pickle=False) as rows:
        return [FindingDraft(**draft, rows=rows.get(f"f{i}")) for i, draft in enumerate(drafts)]


def scores(folder: Path) -> dict[str, pa.ChunkedArray]:
    """Return the stored score columns by name."""
    table = pq.read_table(folder / "scores.parquet")
    return {name: table[name] for name in table.column_names}


def plain(value: Any) -> Any:
    """Return JSON's own types: NumPy scalars and arrays become numbers and lists, NaN and infinity become null.

    Raises:
        TypeError: something else.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    raise TypeError(f"{type(value).__name__} is not JSON")


def column(values: np.ndarray) -> pa.Array:
    """Return a score column for Parquet; floats as float32, where NaN means that there is no value."""
    if values.dtype.kind == "f":
        return pa.array(values.astype(np.float32), from_pandas=True)
    return pa.array(values.tolist() if values.dtype.kind in "OU" else values)


def _finding(draft: FindingDraft) -> dict[str, Any]:
    return {name: value for name, value in vars(draft).items() if name != "rows"}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(plain(value), allow_nan=False, ensure_ascii=False))
