"""What networks that had no part in a fit say of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.audits.datamodels.gathered import Gathered
from app.audits.datamodels.schema import Bounds, Check, FitSummary
from app.numerics.attribution.agreement import Agreement, Interval, agreement
from app.numerics.attribution.lds import LinearDatamodellingScore, score_predictions

_DRAWS, _FEWER_DRAWS, _MANY = 1000, 200, 20_000


def judge(found: Gathered, truth: Tensor, seed: int) -> tuple[FitSummary, LinearDatamodellingScore]:
    """One method's predictions against the outputs float32 [R, S, m] of networks on subsets that it did not see."""
    predicted = found.joined("predicted")
    draws = _DRAWS if predicted.numel() <= _MANY else _FEWER_DRAWS
    score = score_predictions(predicted, truth, _generator(seed), draws)
    summary = FitSummary(method=found.method, lds=score.value, low=score.low, high=score.high)
    if not found.linear:
        return summary, score
    actual = truth.mean(dim=0)
    checked = check_of(agreement(predicted, actual, _generator(seed), within=True, draws=draws))
    r2 = float(r_squared(predicted, actual).median())
    return summary.model_copy(update={"check": checked, "r2": r2}), score


def r_squared(predicted: Tensor, actual: Tensor) -> Tensor:
    """Share of each target's held-out variance that is explained, [m]; negative where the mean predicts better."""
    return 1 - (actual - predicted).square().mean(dim=0) / actual.var(dim=0, unbiased=False).clamp(min=1e-12)


def check_of(found: Agreement) -> Check:
    """An agreement as summaries hold it."""
    parts = {name: _bounds(getattr(found, name)) for name in ("correlation", "slope", "error")}
    return Check(**parts, rows=found.rows, columns=found.columns)


def finite(value: float) -> float | None:
    """None for what is not a number."""
    return value if math.isfinite(value) else None


def _bounds(found: Interval) -> Bounds:
    return Bounds(value=finite(found.value), low=finite(found.low), high=finite(found.high))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
