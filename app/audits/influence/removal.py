"""Stages `choose` and `flip`: networks retrained without the images that a method calls most helpful."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, Split
from app.audits.influence.schema import RANDOM, InfluenceSummary, MethodSummary, Params, Removal
from app.audits.retraining import Retrained, RetrainPlan, read_retrained
from app.errors import UserError
from app.numerics.intervals import wilson_interval

_DRAWS = 2000


def choose(inputs: Inputs) -> Result:
    """Choose predictions that are right, and for each the images to remove by every method and at random.

    Models, in this order, each `removal_repeats` times: on all images; then for each prediction without the top
    images of each method (as listed in the summary), and without as many random images of the prediction's class. The
    r-th network of each removal has the seed of the r-th on all images: the difference of two networks that differ in
    20 images only varies a third as much as with seeds of their own (measured on 1,200 digits).
    The summary is empty; details as `app.audits.retraining` says.
    """
    params: Params = inputs.params
    if inputs.train is None or not params.counterfactuals:
        return Result(summary={})
    if params.removed > params.top:
        raise UserError(
            f"{params.removed} images are to be removed, but only {params.top} are kept at each end of the lists: "
            "lower `removed`, or raise `top`."
        )
    generator = np.random.default_rng([inputs.seed, 0xC0F])
    targets = np.sort(generator.permutation(_right(inputs.audited))[: params.counterfactuals])
    labels = inputs.train.manifest["label"].to_numpy()
    whole = labels >= 0
    masks = [whole]
    for target in targets.tolist():
        own = np.flatnonzero(labels == int(inputs.audited.manifest["label"][target].as_py()))
        for rows in (*_tops(inputs, target), generator.permutation(own)[: params.removed]):
            mask = whole.copy()
            mask[rows] = False
            masks.append(mask)
    repeated = np.repeat(np.stack(masks), params.removal_repeats, axis=0)
    seeds = np.tile(generator.integers(2**31, size=params.removal_repeats), len(masks))
    return RetrainPlan(repeated, seeds, targets).result()


def flip(inputs: Inputs) -> Result:
    """Fill in what each removal did; details `<method>.margins` float32 [predictions, repeats] and `whole.margins`."""
    summary = json.loads((inputs.earlier["prove"] / "summary.json").read_text())
    methods = [MethodSummary.model_validate(m) for m in summary.get("methods", [])]
    found = read_retrained(inputs, "choose", "without")
    if found is None:
        return Result(summary={})
    names = [m.method for m in methods if not m.reason]
    table = _Table(found, len(names) + 1, inputs.params.removal_repeats)
    removals = {name: table.removal(place, inputs.seed) for place, name in enumerate([*names, RANDOM])}
    filled = [m.model_copy(update={"removal": removals.get(m.method)}) for m in methods]
    details = {f"{name}.margins": table.margins(place) for place, name in enumerate([*names, RANDOM])}
    at_random = removals[RANDOM]
    return Result(
        summary={
            "methods": [m.model_dump(mode="json") for m in filled],
            "random_removal": at_random.model_dump(mode="json") if at_random else None,
        },
        details={**details, "whole.margins": table.whole_margins(), "targets": found.targets},
    )


class _Table:
    """Outputs by prediction and removal; networks that crashed are NaN."""

    def __init__(self, found: Retrained, removals: int, repeats: int) -> None:
        count = len(found.targets)
        shape = ((1 + count * removals) * repeats, count)
        self._margins, self._right = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        self._margins[found.models], self._right[found.models] = found.margins, found.right
        self._removals, self._repeats = removals, repeats

    def whole_margins(self) -> NDArray[np.float32]:
        """Margins float32 [predictions, repeats] of networks that saw all images."""
        return self._margins[: self._repeats].T

    def margins(self, removal: int) -> NDArray[np.float32]:
        """Margins float32 [predictions, repeats] of networks without a removal's images."""
        return self._of(self._margins, removal)

    def removal(self, removal: int, seed: int) -> Removal | None:
        """What a removal did to the predictions that networks on all images get right."""
        right = _mean(self._of(self._right, removal))
        drop = _mean(self.whole_margins()) - _mean(self.margins(removal))
        usable = (_mean(self._right[: self._repeats].T) > 0.5) & np.isfinite(right) & np.isfinite(drop)
        if not usable.any():
            return None
        flipped, count = int((right[usable] <= 0.5).sum()), int(usable.sum())
        low, high = (float(bound) for bound in wilson_interval(flipped, count))
        drop_low, drop_high = _bootstrap(drop[usable], seed)
        return Removal(
            predictions=count,
            flipped=flipped,
            rate=flipped / count,
            low=low,
            high=high,
            drop=float(drop[usable].mean()),
            drop_low=drop_low,
            drop_high=drop_high,
        )

    def _of(self, values: NDArray[np.float32], removal: int) -> NDArray[np.float32]:
        count = values.shape[1]
        first = self._repeats * (1 + np.arange(count) * self._removals + removal)
        found: NDArray[np.float32] = values[first[:, None] + np.arange(self._repeats), np.arange(count)[:, None]]
        return found


def _mean(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean over the networks that are there, NaN where none is."""
    there = np.isfinite(values)
    total = np.where(there, values, 0).sum(axis=1, dtype=np.float64)
    found: NDArray[np.float64] = np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)
    return found


def _bootstrap(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    draws = np.random.default_rng([seed, 0xB007]).integers(len(values), size=(_DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _tops(inputs: Inputs, target: int) -> list[NDArray[np.int64]]:
    """The most helpful images of a target by each method that was computed."""
    folder: Path = inputs.earlier["attribute"]
    summary = InfluenceSummary.model_validate(json.loads((folder / "summary.json").read_text()))
    lists = [np.load(folder / f"{m.method}.rows.npy", mmap_mode="r") for m in summary.methods if not m.reason]
    return [np.array(rows[target][: min(inputs.params.removed, rows.shape[1] // 2)], np.int64) for rows in lists]


def _right(split: Split) -> NDArray[np.int64]:
    """Places of the rows that the model gets right."""
    labels = split.manifest["label"].to_numpy()
    if split.logits is None:
        return np.flatnonzero(labels >= 0)
    return np.flatnonzero(np.array(split.logits).argmax(axis=1) == labels)
