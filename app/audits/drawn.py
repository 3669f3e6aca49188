"""What kinds share that measure only some images of a split: which of these a slice holds, and shares. No torch.

Such a kind's stage leaves `positions` int64 [m], the places in the audited split that were drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import RunReader
from app.audits.pieces import Estimate
from app.numerics.intervals import wilson_interval

MOST_ROWS = 2000
"""Drawn images whose slices a run's page looks up, evenly spread where there are more."""


def share(right: NDArray[Any]) -> Estimate:
    """The share of ones with Wilson's interval."""
    total = int(right.sum())
    low, high = wilson_interval(total, len(right))
    return Estimate(value=total / max(len(right), 1), low=float(low), high=float(high), n=len(right))


def by_slice(reader: RunReader, kind: str, stage: str) -> dict[str, list[int]]:
    """Places among the drawn images, by slice; of many images some that are evenly spread."""
    rows = _rows(reader, kind, stage)
    places = {row: place for place, row in enumerate(rows)}
    some = rows[:: -(-len(rows) // MOST_ROWS) or 1]
    found: dict[str, list[int]] = {}
    condition = "row IN (SELECT unnest(?)) AND len(slices) > 0"
    for score in reader.scores(condition, [some], limit=len(some), wide=True):
        for key in score["slices"]:
            found.setdefault(key, []).append(places[score["row"]])
    return found


def of_slice(reader: RunReader, kind: str, stage: str, key: str) -> NDArray[np.int64]:
    """Places of one slice's rows among the drawn images, all of them."""
    rows = _rows(reader, kind, stage)
    condition = "list_contains(slices, ?) AND row IN (SELECT unnest(?))"
    found = {score["row"] for score in reader.scores(condition, [key, rows], limit=len(rows))}
    return np.array([place for place, row in enumerate(rows) if row in found], np.int64)


def _rows(reader: RunReader, kind: str, stage: str) -> list[int]:
    found: list[int] = (reader.array(kind, stage, "positions") + reader.split_start).tolist()
    return found
