"""The order in which images fell. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORST = 6
"""Images of which a cell's pictures are kept, by a shard and by the run."""


def worst_places(outcome: NDArray[np.int8], margin: NDArray[np.float16], column: int) -> NDArray[np.int64]:
    """Rows that were right when clean and are wrong in a cell, the surest mistakes first."""
    fell = np.flatnonzero((outcome[:, 0] == 1) & (outcome[:, column] == 0))
    return fell[np.argsort(margin[fell, column], kind="stable")]
