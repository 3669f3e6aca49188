"""What each budget runs, on which images, and what it leaves out. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.certificates.schema import Budget, Params
from app.audits.drawn import drawn


@dataclass(frozen=True)
class Effort:
    """Settings of the steps."""

    rows: int
    """Images drawn at random."""
    steps: int
    """Of PGD."""
    complete: float
    """Seconds an image that complete verification may take; 0: it is left out."""
    together: float
    """Seconds that complete verification may take for the images of one shard."""
    ensemble: bool
    """Whether AutoAttack's standard ensemble gets what is undecided."""
    halvings: int
    """Of the interval in which an image's proven radius lies; 0: radii are not looked for."""
    coefficients: int
    """Numbers that CROWN may hold of one image; above, only interval bounds are asked."""
    leaves_out: str


EFFORTS: Mapping[Budget, Effort] = {
    "quick": Effort(
        100, 20, 0, 0, False, 0, 3 * 10**7,
        "each image’s own proven radius, and complete verification and AutoAttack, which could each decide some of "
        "the undecided images",
    ),
    "standard": Effort(
        500, 40, 5, 300, True, 7, 3 * 10**8,
        "complete verification beyond 5 seconds an image and 5 minutes a shard of 32 images",
    ),
    "thorough": Effort(
        2000, 100, 60, 3600, True, 10, 3 * 10**9,
        "complete verification beyond a minute an image and an hour a shard of 32 images",
    ),
}  # fmt: skip
_PROOF = 1000
"""Passes that an image's bounds are counted as: what CROWN costs on a small convolutional network."""
SEARCH = 10**8
"""Numbers of one image above which proven radii are not looked for."""
_ENSEMBLE = 3 * 100 * 10 + 4 * 100 * 9 + 5000
"""Passes of AutoAttack's standard ensemble on an image that nothing breaks."""


def passes(params: Params, rows: int) -> int:
    """Images that the network is shown at most, a gradient counted as three and an image's bounds as a thousand."""
    effort = EFFORTS[params.budget]
    each = 3 * (effort.steps + 1) + _PROOF + (_ENSEMBLE if effort.ensemble else 0)
    return min(rows, wanted(params)) * (len(params.radii) * each + effort.halvings * _PROOF)


def wanted(params: Params) -> int:
    """Images to draw, if there are as many."""
    return params.images or EFFORTS[params.budget].rows


def chosen(split: tuple[int, int], seed: int, params: Mapping[str, Any]) -> NDArray[np.int64]:
    """Data set rows drawn without replacement: the first of the order in which stress tests draw."""
    return drawn(split, seed, wanted(Params.model_validate(dict(params))))
