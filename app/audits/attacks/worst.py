"""The order in which images broke. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def first_column(outcome: NDArray[np.int8]) -> NDArray[np.int64]:
    """The column of the smallest ε at which each row is wrong, 0 where it is wrong when clean, −1 where nowhere."""
    wrong = outcome == 0
    return np.where(wrong.any(axis=1), wrong.argmax(axis=1), -1)


def worst_places(outcome: NDArray[np.int8], margin: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows that were right when clean and broke: at the smallest ε first, then the surest mistakes."""
    column = first_column(outcome)
    broke = np.flatnonzero(column > 0)
    order = np.lexsort((broke, margin[broke, column[broke]], column[broke]))
    return broke[order]
