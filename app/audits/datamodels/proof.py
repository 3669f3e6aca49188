"""Stage `prove`: what came of leaving images out, against what the datamodel predicted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Result
from app.audits.datamodels.judge import check_of
from app.audits.datamodels.removal import NAMES, read_datamodel
from app.audits.datamodels.schema import Bounds, Counterfactuals, RemovalSummary, Removed
from app.audits.retraining import Retrained, read_retrained
from app.numerics.attribution.agreement import agreement
from app.numerics.intervals import wilson_interval

LEAST = 3
"""Predictions that an interval needs."""
_DRAWS = 1000

Table = NDArray[np.float64]


def prove(inputs: Inputs) -> Result:
    """Compare networks trained without some images with the datamodel's prediction of them.

    Table `predictions`: a row for each prediction and removal: `target` (place in the audited split), `removed`,
    `images`, `predicted` fall of the margin, its mean `before` and `after` over the networks that are there, `spread`,
    their standard deviation after, and how many `networks` these are.
    """
    found, fitted = read_retrained(inputs, "choose", "without"), read_datamodel(inputs)
    if found is None or fitted is None:
        return Result(summary={})
    predicted, images = (np.load(inputs.earlier["choose"] / f"{name}.npy") for name in ("predicted", "images"))
    names = [name for name in NAMES if name != "similarity" or predicted.shape[1] == len(NAMES)]
    came = outcome(found, len(names), inputs.params.removal_repeats)
    tables = {"predictions": _table(found, names, images, predicted, came)}
    usable = np.isfinite(came.drop).all(axis=1)
    if usable.sum() < LEAST:
        return Result(summary={}, tables=tables)
    checked = agreement(
        torch.from_numpy(predicted[usable]), torch.from_numpy(came.drop[usable]), _generator(inputs), within=False
    )
    removals = [
        _summary(name, images[usable, g], predicted[usable, g], came.drop[usable, g], came.wrong[usable, g], inputs)
        for g, name in enumerate(names)
    ]
    summary = Counterfactuals(
        method=fitted.method,
        predictions=int(usable.sum()),
        repeats=inputs.params.removal_repeats,
        removals=removals,
        check=check_of(checked),
    )
    return Result(summary={"counterfactuals": summary.model_dump(mode="json")}, tables=tables)


class Outcome(NamedTuple):
    """By prediction and removal, float64 [n, G]; NaN where every network crashed.

    `before` and `after` are mean margins of networks on all images and without some, `spread` the standard deviation
    of the latter, `networks` their number, `wrong` the share of them that get the prediction wrong.
    """

    before: Table
    after: Table
    spread: Table
    networks: Table
    wrong: Table

    @property
    def drop(self) -> Table:
        """Fall of the margin."""
        return self.before - self.after


def outcome(found: Retrained, removals: int, repeats: int) -> Outcome:
    """Sort what retrained networks gave by prediction and removal; the order is that of the stage `choose`."""
    count = len(found.targets)
    margins, right = (np.full(((1 + count * removals) * repeats, count), np.nan) for _ in range(2))
    margins[found.models], right[found.models] = found.margins, found.right
    network = repeats * (1 + np.arange(count)[:, None] * removals + np.arange(removals))[..., None] + np.arange(repeats)
    own, own_right = (values[network, np.arange(count)[:, None, None]] for values in (margins, right))
    mean, spread, networks = _moments(own)
    before = np.repeat(_moments(margins[:repeats].T)[0][:, None], removals, axis=1)
    return Outcome(before, mean, spread, networks, 1 - _moments(own_right)[0])


def _moments(values: Table) -> tuple[Table, Table, Table]:
    """Mean, standard deviation and number of the last axis's entries that are there; NaN for none and for one."""
    there = np.isfinite(values)
    networks = there.sum(axis=-1).astype(float)
    mean = np.where(there, values, 0).sum(axis=-1) / np.where(networks > 0, networks, np.nan)
    squares = np.where(there, np.square(values - mean[..., None]), 0).sum(axis=-1)
    return mean, np.sqrt(squares / np.where(networks > 1, networks - 1, np.nan)), networks


def _summary(
    name: Removed, images: NDArray[np.int64], predicted: Table, drop: Table, wrong: Table, inputs: Inputs
) -> RemovalSummary:
    draws = np.random.default_rng([inputs.seed, 0xB007]).integers(len(drop), size=(_DRAWS, len(drop)))
    low, high = np.quantile(drop[draws].mean(axis=1), [0.025, 0.975])
    flipped = int((wrong > 0.5).sum())
    flip_low, flip_high = wilson_interval(flipped, len(wrong))
    return RemovalSummary(
        removed=name,
        images=float(images.mean()),
        predicted=float(predicted.mean()),
        drop=Bounds(value=float(drop.mean()), low=float(low), high=float(high)),
        flipped=Bounds(value=flipped / len(wrong), low=float(flip_low), high=float(flip_high)),
    )


def _table(
    found: Retrained, names: list[Removed], images: NDArray[np.int64], predicted: Table, came: Outcome
) -> pa.Table:
    columns = {"before": came.before, "after": came.after, "spread": came.spread}
    return pa.table(
        {
            "target": np.repeat(found.targets, len(names)),
            "removed": names * len(found.targets),
            "images": images.ravel(),
            "predicted": predicted.ravel(),
            "networks": came.networks.astype(np.int32).ravel(),
            **{name: pa.array(values.ravel(), from_pandas=True) for name, values in columns.items()},
        }
    )


def _generator(inputs: Inputs) -> torch.Generator:
    return torch.Generator().manual_seed(inputs.seed)
