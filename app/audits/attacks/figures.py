"""Shares with their intervals. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.attacks.schema import GroupRow
from app.audits.pieces import Estimate
from app.numerics.intervals import wilson_interval


def share(right: NDArray[Any]) -> Estimate:
    """The share of ones with Wilson's interval."""
    total = int(right.sum())
    low, high = wilson_interval(total, len(right))
    return Estimate(value=total / max(len(right), 1), low=float(low), high=float(high), n=len(right))


def group_row(name: str, outcome: NDArray[np.int8], class_index: int | None = None) -> GroupRow:
    """Clean accuracy, and the share that withstands all attacks at the largest ε, of a group's outcomes."""
    return GroupRow(name=name, class_index=class_index, clean=share(outcome[:, 0]), robust=share(outcome[:, -1]))
