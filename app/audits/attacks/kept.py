"""Which of the shards' pictures a run keeps for its pages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.attacks.worst import worst_places
from app.audits.base import Inputs
from app.audits.changed import kept_pictures as kept_changes

WORST = 12
"""Images shown."""


def kept_pictures(
    inputs: Inputs, positions: NDArray[np.int64], found: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the pictures of the images that broke worst; see `app.audits.changed`."""
    worst: list[int] = positions[worst_places(found["outcome"], found["margin"])].tolist()
    return kept_changes(inputs, "attack", worst, WORST)
