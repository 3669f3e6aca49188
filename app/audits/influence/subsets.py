"""Stage `plan`: the random halves of the training split on which networks are retrained."""

from __future__ import annotations

import numpy as np

from app.audits.base import Inputs, Result
from app.audits.influence.schema import Params
from app.audits.retraining import RetrainPlan, random_subsets, sample_targets
from app.errors import UserError

SHARE = 0.5
LEAST_ROWS = 10


def plan(inputs: Inputs) -> Result:
    """Choose the halves and the audited images that the networks are asked.

    Raises:
        UserError: too few labelled training images for random halves.
    """
    params: Params = inputs.params
    if inputs.train is None or not params.retrain:
        return Result(summary={})
    labels = inputs.train.manifest["label"].to_numpy()
    if (known := int((labels >= 0).sum())) < LEAST_ROWS:
        raise UserError(f"The training split has {known} labelled images; random halves need at least {LEAST_ROWS}.")
    masks, seeds = random_subsets(labels, params.retrain, SHARE, inputs.seed, repeats=params.repeats)
    known_targets = np.flatnonzero(inputs.audited.manifest["label"].to_numpy() >= 0)
    targets = known_targets[sample_targets(len(known_targets), params.proof_targets, inputs.seed)]
    return RetrainPlan(masks, seeds, targets).result()
