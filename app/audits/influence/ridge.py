"""How a run comes to TRAK's ridge: given, from retrained halves, from checkpoints that agree, or the usual one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.audits.influence.proof import LEAST_TO_CHOOSE, Truth, read_truth
from app.audits.influence.schema import Params, RidgeBy, RidgePoint
from app.audits.influence.scores import Attributor
from app.numerics.attribution.agreed_ridge import RIDGES, agreed_ridge
from app.numerics.attribution.lds import rank_correlation

_GRID = (0.1, 0.25, *RIDGES, 32.0, 64.0)
_MOST_ROWS, _MOST_TARGETS = 4096, 128
"""Training rows and targets on which checkpoints are compared, drawn at random where there are more."""


class ChosenRidge(NamedTuple):
    """How the ridge was chosen, and what was tried; no points where nothing was compared."""

    by: RidgeBy
    curve: list[RidgePoint]


def choose_ridge(found: Attributor) -> ChosenRidge | None:
    """Set TRAK's ridge; none where there are no gradients.

    Sixteen retrained halves and more: the first half of them choose. Else two checkpoints and more: the ridge under
    which they foretell one another.
    """
    params: Params = found.inputs.params
    if found.ridge is None:
        return None
    if params.ridge is not None:
        return ChosenRidge("given", [])
    truth = read_truth(found.inputs)
    if truth is not None and len(truth.masks) >= LEAST_TO_CHOOSE:
        return _by_retraining(found, truth.part(slice(0, len(truth.masks) // 2)))
    return _by_checkpoints(found) if len(found.trained) > 1 else ChosenRidge("usual", [])


def _by_retraining(found: Attributor, truth: Truth) -> ChosenRidge:
    curve, mean = [], truth.margins.mean(dim=0)
    for done, ridge in enumerate(_GRID):
        _tell(found, done / len(_GRID))
        found.ridge = ridge
        predicted = truth.masks.float() @ found.methods["trak"](truth.targets)
        curve.append(RidgePoint(ridge=ridge, value=float(rank_correlation(predicted, mean).mean())))
    found.ridge = max(curve, key=lambda point: point.value).ridge
    return ChosenRidge("retrained", curve)


def _by_checkpoints(found: Attributor) -> ChosenRidge:
    rng = np.random.default_rng(found.inputs.seed)
    rows, targets = (
        np.sort(rng.choice(count, min(count, most), replace=False))
        for count, most in ((len(found.train.manifest), _MOST_ROWS), (len(found.targets.manifest), _MOST_TARGETS))
    )
    points = [point._replace(train=point.train.take(rows), doubt=point.doubt[rows]) for point in found.points(targets)]
    ridge, curve = agreed_ridge(points, lambda share: _tell(found, share))
    found.ridge = ridge
    return ChosenRidge("checkpoints", [RidgePoint(ridge=tried, value=value) for tried, value in curve])


def _tell(found: Attributor, share: float) -> None:
    found.inputs.progress(0.2 * share, "Choosing the ridge")
