"""Shares with their intervals. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.audits.attacks.schema import GroupRow
from app.audits.drawn import share


def group_row(name: str, outcome: NDArray[np.int8], class_index: int | None = None) -> GroupRow:
    """Clean accuracy, and the share that withstands all attacks at the largest ε, of a group's outcomes."""
    return GroupRow(name=name, class_index=class_index, clean=share(outcome[:, 0]), robust=share(outcome[:, -1]))
