"""What each budget runs, on which images, and what it leaves out. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.audits.attacks.schema import Budget, Params
from app.audits.drawn import drawn


@dataclass(frozen=True)
class Effort:
    """Settings of the attacks."""

    rows: int
    """Images drawn at random."""
    steps: int
    targets: int
    """Classes that targeted attacks aim at, the likeliest first."""
    restarts: int
    queries: int
    """Of the attack without gradients, an image."""
    fab: bool
    leaves_out: str


EFFORTS: Mapping[Budget, Effort] = {
    "quick": Effort(
        100, 40, 3, 1, 300, False,
        "targeted FAB, six of AutoAttack’s nine targets, 60 of its 100 steps and 4,700 of its 5,000 queries: the share "
        "of robust images can only be lower",
    ),
    "standard": Effort(500, 100, 9, 1, 5000, True, "further random starts; it is AutoAttack’s standard ensemble"),
    "thorough": Effort(
        2000, 100, 9, 3, 5000, True,
        "nothing of AutoAttack’s standard ensemble, and starts each attack with gradients three times; no attack "
        "proves anything of the images that are left",
    ),
}  # fmt: skip


def passes(params: Params, rows: int) -> int:
    """Images that the network is shown at most, a gradient counted as three: what nothing breaks takes all of it."""
    effort = EFFORTS[params.budget]
    ascents = 3 * effort.steps * effort.restarts * (1 + effort.targets)
    nearest = 4 * effort.steps * effort.restarts * effort.targets if effort.fab else 0
    return min(rows, effort.rows) * len(params.radii) * (ascents + nearest + effort.queries)


def sampled(split: tuple[int, int], seed: int, budget: Budget) -> NDArray[np.int64]:
    """Data set rows drawn at random; a smaller budget's are the first of a larger one's."""
    return drawn(split, seed, EFFORTS[budget].rows)
