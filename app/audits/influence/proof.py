"""Stage `prove`: each method's linear datamodelling score against networks retrained on random halves."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Inputs, Result
from app.audits.influence.schema import InfluenceSummary, MethodSummary, Params, Proof
from app.audits.influence.scores import Attributor
from app.audits.retraining import by_subset, read_retrained, whole_subsets
from app.numerics.attribution.lds import LinearDatamodellingScore, linear_datamodelling_score, rank_correlation

LEAST_TO_CHOOSE = 16
"""Halves from which on half of them choose TRAK's ridge."""
LEAST = 3
MOST_NUMBERS = 50_000_000
"""Scores of a method that are kept for those who compute its linear datamodelling score themselves."""


class Truth(NamedTuple):
    """Retrained outputs: `masks` bool [S, N], `margins` float32 [R, S, m], `targets` int64 [m], `halves` int64 [S]."""

    masks: Tensor
    margins: Tensor
    targets: NDArray[np.int64]
    halves: NDArray[np.int64]

    def part(self, chosen: slice) -> Truth:
        """The truth of some subsets."""
        return Truth(self.masks[chosen], self.margins[:, chosen], self.targets, self.halves[chosen])


def prove(inputs: Inputs) -> Result:
    """Fill in the methods' scores.

    Details: `targets` int64 [m]; `judged` int64 [S], the halves that judged; for each method `lds.<method>` float32
    [m], each target's own rank correlation, and `scores.<method>` float32 [N, k], the scores for the first k targets
    (all of them, up to `MOST_NUMBERS` numbers).
    """
    before = InfluenceSummary.model_validate(json.loads((inputs.earlier["attribute"] / "summary.json").read_text()))
    truth = read_truth(inputs)
    if truth is None or inputs.train is None or before.unavailable:
        return Result(summary={"methods": [m.model_dump(mode="json") for m in before.methods]})
    if before.ridge_by == "retrained":
        truth = truth.part(slice(len(truth.masks) // 2, None))
    found = Attributor(inputs, inputs.train, inputs.audited)
    found.ridge = before.ridge
    methods, last = [], None
    details: dict[str, NDArray[np.generic]] = {}
    for done, method in enumerate(before.methods):
        inputs.progress(done / len(before.methods), f"Proving: {method.method}")
        if not method.reason:
            scores = found.methods[method.method](truth.targets)
            last = _score(scores, truth, inputs.seed)
            correlations = rank_correlation(truth.masks.float() @ scores, truth.margins.mean(dim=0))
            details[f"lds.{method.method}"] = correlations.float().numpy()
            details[f"scores.{method.method}"] = _kept(scores)
            method = _filled(method, last)  # noqa: PLW2901 - the same method, with what was measured
        methods.append(method.model_dump(mode="json"))
    proof = _proof(last, truth).model_dump(mode="json") if last else None
    details |= {"targets": truth.targets, "judged": truth.halves}
    return Result(summary={"methods": methods, "proof": proof}, details=details)


def read_truth(inputs: Inputs) -> Truth | None:
    """What the retrained networks gave by subset; none where too few were retrained."""
    params: Params = inputs.params
    retrained = read_retrained(inputs, "plan", "retrain")
    if retrained is None:
        return None
    masks, margins = by_subset(retrained, params.repeats)
    if len(masks) < LEAST:
        return None
    halves, _ = whole_subsets(retrained.models, params.repeats)
    return Truth(torch.from_numpy(masks), torch.from_numpy(margins), retrained.targets, halves)


def _kept(scores: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = scores[:, : max(MOST_NUMBERS // len(scores), 1)].float().contiguous().numpy()
    return found


def _score(scores: Tensor, truth: Truth, seed: int) -> LinearDatamodellingScore:
    return linear_datamodelling_score(scores, truth.masks, truth.margins, torch.Generator().manual_seed(seed))


def _filled(method: MethodSummary, found: LinearDatamodellingScore) -> MethodSummary:
    values = {"lds": found.value, "low": found.low, "high": found.high}
    return method.model_copy(update={"verified": "verified", **values})


def _proof(found: LinearDatamodellingScore, truth: Truth) -> Proof:
    return Proof(
        subsets=len(truth.masks),
        repeats=len(truth.margins),
        targets=len(truth.targets),
        repeatability=_finite(found.repeatability),
        ceiling=_finite(found.ceiling),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
