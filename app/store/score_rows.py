"""Random access to the narrow columns of a score table: one fixed-width record a row, memory-mapped.

Parquet reads whole column chunks, so that a page of pictures from all over a million rows would read all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "rows.npy"
ROLES = ("fit", "confirm")
_NONE = 255
RECORD = np.dtype(
    [
        ("row", "<i8"),
        ("label", "<i4"),
        ("prediction", "<i4"),
        ("confidence", "<f4"),
        ("p_true", "<f4"),
        ("decision", "<f4"),
        ("role", "u1"),
        ("correct", "u1"),
    ]
)


def pack(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return records [n] sorted by row; missing numbers are −1 or NaN, missing words and truths 255."""
    records = np.empty(len(columns["row"]), RECORD)
    for name in ("row", "confidence", "p_true", "decision"):
        records[name] = columns[name]
    for name in ("label", "prediction"):
        records[name] = np.nan_to_num(np.asarray(columns[name], np.float64), nan=-1)
    correct = np.asarray(columns["correct"], np.float64)
    records["correct"] = np.where(np.isnan(correct), _NONE, correct > 0)
    records["role"] = _NONE
    for number, role in enumerate(ROLES):
        records["role"][columns["role"] == role] = number
    return np.sort(records, order="row")


class ScoreRows:
    """Records of one run."""

    def __init__(self, folder: Path) -> None:
        self._records: NDArray[Any] = np.load(folder / FILE, mmap_mode="r")

    def by_rows(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the records of these data set rows, by row; unknown ones are left out."""
        if not len(self._records):
            return {}
        wanted = np.asarray(rows, np.int64)
        places = np.minimum(np.searchsorted(self._records["row"], wanted), len(self._records) - 1)
        found = self._records[places]
        return {int(r["row"]): _plain(r) for r, row in zip(found, wanted, strict=True) if r["row"] == row}


def _plain(record: Any) -> dict[str, Any]:
    """One record as a row of the score table reads, with None for what is missing."""
    label, prediction, role, correct = (int(record[name]) for name in ("label", "prediction", "role", "correct"))
    numbers = {name: float(record[name]) for name in ("confidence", "p_true", "decision")}
    return {
        "row": int(record["row"]),
        "role": None if role == _NONE else ROLES[role],
        "label": None if label < 0 else label,
        "prediction": None if prediction < 0 else prediction,
        "correct": None if correct == _NONE else bool(correct),
        **{name: None if np.isnan(value) else value for name, value in numbers.items()},
    }
