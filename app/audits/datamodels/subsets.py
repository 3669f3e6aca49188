"""Stage `plan`: the random subsets that networks are trained on, and which of the networks only judge."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Inputs, Result
from app.audits.datamodels.schema import Params
from app.audits.retraining import Retrained, RetrainPlan, random_subsets, sample_targets
from app.errors import UserError

LEAST_MODELS = 30
LEAST_ROWS = 10
LEAST_FIT, LEAST_HELD = 10, 3
REPEATS = 2
"""Networks trained on each subset that judges: two tell how far a single one can be predicted at all."""
_TEN = 10
_HELD_TENS = 100


class Roles(NamedTuple):
    """Of each network: the number of its `subset`, which of the subset's networks it is, and whether it only judges."""

    subset: NDArray[np.int64]
    repeat: NDArray[np.int64]
    held: NDArray[np.bool_]


class Networks(NamedTuple):
    """Networks that fit: `masks` bool [M, N], `margins` float32 [M, m]; that judge: `held` bool [S, N], `truth` float32
    [R, S, m].
    """

    masks: Tensor
    margins: Tensor
    held: Tensor
    truth: Tensor


def roles(networks: NDArray[np.int64]) -> Roles:
    """Of every ten networks eight fit and two judge, on one subset of their own; from the thousandth on all fit.

    A network's role does not depend on how many there are, so that a longer plan begins as a shorter one.
    """
    tens, place = np.divmod(networks, _TEN)
    early = tens < _HELD_TENS
    own = _TEN - 1
    subset = np.where(early, own * tens + np.minimum(place, own - 1), networks - _HELD_TENS)
    return Roles(subset, (early & (place == _TEN - 1)).astype(np.int64), early & (place >= own - 1))


def plan(inputs: Inputs) -> Result:
    """Choose the subsets and the audited images that the networks are asked.

    Raises:
        UserError: too few networks, too few labelled images, or counterfactuals without datamodels.
    """
    params: Params = inputs.params
    if params.counterfactuals and not params.retrain:
        raise UserError(
            "Counterfactuals are predicted by datamodels, and those need networks: set `retrain` to some hundreds."
        )
    if inputs.train is None or not params.retrain:
        return Result(summary={})
    labels = inputs.train.manifest["label"].to_numpy()
    if params.retrain < LEAST_MODELS:
        raise UserError(f"{params.retrain} networks are too few for datamodels; train at least {LEAST_MODELS}.")
    if (known := int((labels >= 0).sum())) < LEAST_ROWS:
        raise UserError(f"The training split has {known} labelled images; random subsets need at least {LEAST_ROWS}.")
    there = np.flatnonzero(inputs.audited.manifest["label"].to_numpy() >= 0)
    if not len(there):
        raise UserError("No audited image has a label, so no network can be asked how sure it is of one.")
    masks, seeds = _subsets(labels, params, inputs.seed)
    targets = there[sample_targets(len(there), params.targets, inputs.seed)]
    return RetrainPlan(masks, seeds, targets).result()


def _subsets(labels: NDArray[np.int32], params: Params, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    role = roles(np.arange(params.retrain))
    masks, seeds = random_subsets(labels, int(role.subset[-1]) + 1, params.share, seed, repeats=REPEATS)
    return masks[::REPEATS][role.subset], seeds[REPEATS * role.subset + role.repeat]


def networks_of(found: Retrained) -> Networks | None:
    """Part the networks that are there; none where too few of either sort are left."""
    role = roles(found.models)
    fit = ~role.held
    _, first, counts = np.unique(np.where(role.held, role.subset, -1), return_index=True, return_counts=True)
    whole = np.sort(first[(counts == REPEATS) & role.held[first]])
    if fit.sum() < LEAST_FIT or len(whole) < LEAST_HELD:
        return None
    margins = np.array(found.margins)
    truth = np.stack([margins[whole + repeat] for repeat in range(REPEATS)])
    return Networks(*(torch.from_numpy(a) for a in (found.masks[fit], margins[fit], found.masks[whole], truth)))
