"""What is known of each image at each ε, what follows from it, and where it contradicts itself. Imports no torch.

An image that is proven at one ε is proven at every smaller one, and one that is broken is broken at every larger one:
the larger ball holds the smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.certificates.schema import (
    BROKEN,
    COMPLETE,
    EVIDENCE,
    FIRST_BOUND,
    NOT_ASKED,
    OPEN,
    PROVEN,
    SAFE,
    STEPS,
    UNDECIDED,
    WRONG,
)

IBP, CROWN, POLYTOPE = range(3)
"""Places of the bounds."""


@dataclass
class Evidence:
    """Of n images and k rising ε."""

    right: NDArray[np.bool_]
    """[n]: whether the network is right on the unchanged image."""
    found: NDArray[np.int8]
    """[n, k]: place in `STEPS` of what found a change that makes the network wrong, confirmed by a pass; −1 nothing."""
    bounds: NDArray[np.float32]
    """[n, k, 3]: least margin of the label, by proof; positive: proven; not a number: not asked."""
    complete: NDArray[np.int8]
    """[n, k]: what complete verification said, as the schema's constants."""

    @staticmethod
    def nothing(rows: int, radii: int) -> Evidence:
        """Return the state before anything was tried."""
        return Evidence(
            np.zeros(rows, bool),
            np.full((rows, radii), UNDECIDED, np.int8),
            np.full((rows, radii, 3), np.nan, np.float32),
            np.full((rows, radii), NOT_ASKED, np.int8),
        )

    @staticmethod
    def of(arrays: Mapping[str, Any]) -> Evidence:
        """Return that of arrays by name."""
        return Evidence(*(np.asarray(arrays[name]) for name in EVIDENCE))

    def take(self, rows: NDArray[Any]) -> Evidence:
        """Return some images; `rows` is an index or a mask."""
        return Evidence(*(getattr(self, name)[rows] for name in EVIDENCE))

    def broken(self) -> NDArray[np.bool_]:
        """[n, k]: found at this ε or a smaller one."""
        return np.logical_or.accumulate(self.found >= 0, axis=1)

    def proven(self) -> NDArray[np.bool_]:
        """[n, k]: proven at this ε or a larger one."""
        here = (self.bounds > 0).any(axis=2) | (self.complete == SAFE)
        return np.logical_or.accumulate(here[:, ::-1], axis=1)[:, ::-1]

    def state(self) -> NDArray[np.int8]:
        """[n, k]: 1 proven, 0 broken or wrong as it is, −1 undecided."""
        found = np.where(self.broken() | ~self.right[:, None], BROKEN, np.where(self.proven(), PROVEN, OPEN))
        return found.astype(np.int8)

    def undecided(self, column: int) -> NDArray[np.int64]:
        """Places of the images that are right and neither proven nor broken at an ε."""
        return np.flatnonzero(self.state()[:, column] == OPEN)

    def by(self) -> NDArray[np.int8]:
        """[n, k]: place in `STEPS` of what decided; −1 undecided, −2 wrong as it is."""
        proof = np.full(self.found.shape, UNDECIDED, np.int8)
        attack = proof.copy()
        for column in range(self.found.shape[1]):
            before = attack[:, column - 1] if column else np.full(len(self.found), UNDECIDED)
            attack[:, column] = np.where(before >= 0, before, self.found[:, column])
        for column in reversed(range(self.found.shape[1])):
            after = proof[:, column + 1] if column + 1 < self.found.shape[1] else np.full(len(self.found), UNDECIDED)
            proof[:, column] = np.where(after >= 0, after, self._proof(column))
        by = np.where(attack >= 0, attack, proof)
        by[~self.right] = WRONG
        return by.astype(np.int8)

    def _proof(self, column: int) -> NDArray[np.int8]:
        """The cheapest proof at an ε itself."""
        bounds = self.bounds[:, column] > 0
        cheapest = np.where(bounds.any(axis=1), FIRST_BOUND + bounds.argmax(axis=1), UNDECIDED)
        return np.where((cheapest < 0) & (self.complete[:, column] == SAFE), COMPLETE, cheapest).astype(np.int8)


@dataclass(frozen=True)
class Contradiction:
    """Two statements about an image that cannot both be true."""

    place: int
    column: int
    text: str


def contradiction(evidence: Evidence) -> Contradiction | None:
    """Return the first contradiction: proven and broken, or proven by IBP and not by CROWN; none where all agree."""
    both = evidence.broken() & evidence.proven()
    if both.any():
        place, column = (int(part) for part in np.argwhere(both)[0])
        return Contradiction(place, column, _both(evidence, place, column))
    looser, tighter = evidence.bounds[:, :, IBP], evidence.bounds[:, :, CROWN]
    against = (looser > 0) & np.isfinite(looser) & ~np.isnan(tighter) & ~(tighter > 0)
    if against.any():
        place, column = (int(part) for part in np.argwhere(against)[0])
        text = "it is proven by interval bounds, and not by CROWN, whose bounds are intersected with them"
        return Contradiction(place, column, text)
    return None


def _both(evidence: Evidence, place: int, column: int) -> str:
    found = evidence.found[place]
    attack = STEPS[int(found[: column + 1][found[: column + 1] >= 0][0])]
    proofs = [evidence._proof(c)[place] for c in range(column, len(found))]
    proof = STEPS[int(next(step for step in proofs if step >= 0))]
    return f"it is proven by {proof}, and {attack} found a change that makes the network wrong"
