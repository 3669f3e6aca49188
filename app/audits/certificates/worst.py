"""The order in which images broke. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def first_broken(found: NDArray[np.int8]) -> NDArray[np.int64]:
    """[n]: place of the smallest ε at which a change was found, −1 where none was."""
    hit = found >= 0
    return np.where(hit.any(axis=1), hit.argmax(axis=1), -1)


def worst_places(found: NDArray[np.int8], margin: NDArray[Any]) -> NDArray[np.int64]:
    """Places of the images that broke: at the smallest ε first, then the surest mistakes."""
    column = first_broken(found)
    broke = np.flatnonzero(column >= 0)
    return broke[np.lexsort((broke, margin[broke, column[broke] + 1], column[broke]))]
