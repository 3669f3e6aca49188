"""What each budget draws, on which images, and what it leaves out. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.audits.smoothing.reach import COPIES, Budget
from app.audits.smoothing.schema import Params


@dataclass(frozen=True)
class Effort:
    """How many images and noisy copies."""

    rows: int
    """Images drawn at random."""
    first: int
    """Copies that choose the class."""
    copies: int
    """Further copies of an image: so many, or at most so many where they are asked one radius after another."""
    asks: bool
    """Whether an image is asked at the given radii only, with as few copies as that takes."""
    leaves_out: str


EFFORTS: Mapping[Budget, Effort] = {
    "quick": Effort(
        100, 64, COPIES["quick"], True,
        "every radius but those asked, and answers that more than 2,000 noisy copies would settle: what is open then "
        "counts as not certified",
    ),
    "standard": Effort(
        200, 100, COPIES["standard"], False,
        "nine tenths of the 100,000 noisy copies of the published tables, so that radii are slightly smaller",
    ),
    "thorough": Effort(
        500, 100, COPIES["thorough"], False,
        "nothing of the published procedure: 100 copies choose the class, 100,000 estimate",
    ),
}  # fmt: skip


def passes(params: Params, rows: int) -> int:
    """Noisy copies that the network is shown at most."""
    effort = EFFORTS[params.budget]
    variants = len(params.sigmas) * (1 + params.train_copy)
    return min(rows, effort.rows) * variants * (effort.first + effort.copies)


def networks(params: Any) -> int:
    """Networks that are trained anew: one with each noise."""
    return len(params.sigmas) * int(params.train_copy)
