"""TRAK's ridge without retraining: the one whose scores foretell best what a further checkpoint says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from app.numerics.attribution.trak import Checkpoint

RIDGES = tuple(0.5 * 2 ** (step / 2) for step in range(11))
"""0.5 to 16, by factors of √2."""
REFERENCE = 1.25
"""Ridge of the checkpoint left out. The smaller, the less its scores are bent and the more noise is in them."""
_MOST_LEFT_OUT = 4


class RidgeChoice(NamedTuple):
    """The ridge, between the tried ones, and each tried `(ridge, agreement)`."""

    ridge: float
    curve: tuple[tuple[float, float], ...]


def agreed_ridge(checkpoints: Sequence[Checkpoint], told: Callable[[float], None] = lambda _: None) -> RidgeChoice:
    """Choose the ridge by leaving one checkpoint out.

    The scores of the others under a ridge are correlated, target by target, with those of the one left out under a
    ridge of 1.25; the noise of checkpoints that were trained apart is independent, so it lowers all correlations alike,
    and what remains says how near the mean scores are. Up to four checkpoints take their turn as the one left out.

    Agreement under one common ridge would not do: it grows with the ridge without end, as a large ridge makes all
    checkpoints say the same, and worse, thing. See docs/decisions/0007-ridge.md for what the rule reaches.

    Args:
        checkpoints: two at least; a sample of training rows and targets will do (memory: two matrices [N, m] for each
            checkpoint and one more).
        told: called with the share of the work that is done.

    Raises:
        ValueError: fewer than two checkpoints.
    """
    if len(checkpoints) < 2:
        raise ValueError("Agreement needs at least two checkpoints.")
    left_out = range(min(len(checkpoints), _MOST_LEFT_OUT))
    doubt = torch.stack([point.doubt for point in checkpoints]).mean(dim=0)
    references = [_standard(_scores(checkpoints[i], REFERENCE, doubt)) for i in left_out]
    found = []
    for done, ridge in enumerate(RIDGES):
        told(done / len(RIDGES))
        parts = [_scores(point, ridge, doubt) for point in checkpoints]
        total = torch.stack(parts).sum(dim=0)
        likeness = [(_standard(total - parts[i]) * references[i]).sum(dim=0).mean() for i in left_out]
        found.append(float(torch.stack(likeness).mean()))
    return RidgeChoice(_peak(found), tuple(zip(RIDGES, found, strict=True)))


def _scores(point: Checkpoint, ridge: float, doubt: Tensor) -> Tensor:
    return point.train.dot(point.spectrum.solve(point.targets, ridge)) * doubt[:, None]


def _standard(scores: Tensor) -> Tensor:
    return normalize(scores - scores.mean(dim=0), dim=0)


def _peak(values: Sequence[float]) -> float:
    """The top of the parabola through the best ridge and its neighbours, on a logarithmic scale."""
    best = max(range(len(values)), key=values.__getitem__)
    if best in (0, len(values) - 1):
        return RIDGES[best]
    low, top, high = values[best - 1 : best + 2]
    step = 0.5 * (low - high) / min(low - 2 * top + high, -1e-12)
    return RIDGES[best] * float(math.sqrt(2) ** step)
