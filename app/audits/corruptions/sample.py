"""Which images are corrupted, and with whose parameters. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.audits.corruptions.schema import ROWS, SMALL, Budget
from app.numerics.corruptions.parameters import Family

GALLERY = 2
"""Images of which every cell is kept as a picture."""


def sampled(split: tuple[int, int], seed: int, budget: Budget) -> NDArray[np.int64]:
    """Data set rows drawn without replacement, in the order of the draw: the same for every shard of the split.

    A smaller budget's rows are the first of a larger one's.
    """
    order = np.random.default_rng([seed, *split]).permutation(split[1] - split[0])
    return order[: ROWS[budget]] + split[0]


def gallery_rows(split: tuple[int, int], seed: int) -> set[int]:
    """The first rows of the draw."""
    return set(sampled(split, seed, "quick")[:GALLERY].tolist())


def families(choice: str, height: int, width: int) -> Family:
    """The family that a choice means for images of that size."""
    if choice == "imagenet-c":
        return "imagenet-c"
    return "cifar-c" if choice == "cifar-c" or max(height, width) <= SMALL else "imagenet-c"
