"""Stage `plan`: the random subsets that networks are trained on."""

from __future__ import annotations

import numpy as np

from app.audits.base import Inputs, Result
from app.audits.datamodels.schema import Params
from app.audits.retraining import RetrainPlan, random_subsets, sample_targets
from app.errors import UserError

LEAST_MODELS = 20
LEAST_ROWS = 10


def plan(inputs: Inputs) -> Result:
    """Choose the subsets and the audited images that the networks are asked.

    Raises:
        UserError: too few networks, or too few labelled training images.
    """
    params: Params = inputs.params
    if inputs.train is None or not params.retrain:
        return Result(summary={})
    labels = inputs.train.manifest["label"].to_numpy()
    if params.retrain < LEAST_MODELS:
        raise UserError(f"{params.retrain} networks are too few for datamodels; train at least {LEAST_MODELS}.")
    if (known := int((labels >= 0).sum())) < LEAST_ROWS:
        raise UserError(f"The training split has {known} labelled images; random subsets need at least {LEAST_ROWS}.")
    masks, seeds = random_subsets(labels, params.retrain, params.share, inputs.seed)
    there = np.flatnonzero(inputs.audited.manifest["label"].to_numpy() >= 0)
    targets = there[sample_targets(len(there), params.targets, inputs.seed)]
    return RetrainPlan(masks, seeds, targets).result()
