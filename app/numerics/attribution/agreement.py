"""How well predicted outputs agree with those of models that were retrained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_AT_ONCE = 100


class Interval(NamedTuple):
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Agreement(NamedTuple):
    """`correlation` is Pearson's, `slope` that of actual on predicted (1: calibrated; below: predicted too far apart).

    `error` is the mean absolute difference, in units of the output; `rows` and `columns` are what they rest on.
    """

    correlation: Interval
    slope: Interval
    error: Interval
    rows: int
    columns: int


def agreement(
    predicted: Tensor, actual: Tensor, generator: torch.Generator, *, within: bool, draws: int = 1000
) -> Agreement:
    """Compare predictions with what came of retraining.

    Args:
        predicted: float [n, m], n retrainings, m outputs of each.
        actual: float [n, m].
        generator: source of the bootstrap over rows and columns.
        within: whether each column's mean is taken off before correlation and slope, so that outputs which are always
            high and always low cannot pass for agreement.
        draws: bootstrap samples.

    Raises:
        ValueError: shapes differ, or fewer than 2 rows.
    """
    if predicted.shape != actual.shape or predicted.ndim != 2 or len(predicted) < 2:
        raise ValueError("Agreement needs two tables of the same shape with at least 2 rows.")
    p, a = predicted.double(), actual.double()
    every = torch.ones(1, len(p), dtype=torch.float64), torch.ones(1, p.shape[1], dtype=torch.float64)
    value = _statistics(p, a, *every, within=within)[:, 0]
    samples = torch.cat([_statistics(p, a, *w, within=within) for w in _resampled(p, generator, draws)], dim=1)
    low, high = samples.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=1)
    found = [Interval(*bounds) for bounds in zip(value.tolist(), low.tolist(), high.tolist(), strict=True)]
    return Agreement(found[0], found[1], found[2], len(p), p.shape[1])


def _resampled(like: Tensor, generator: torch.Generator, draws: int) -> Iterator[tuple[Tensor, Tensor]]:
    """How often each row and each column is drawn, float64 [d, n] and [d, m]."""
    for start in range(0, draws, _AT_ONCE):
        count = min(_AT_ONCE, draws - start)
        yield tuple(_counts(count, size, generator) for size in like.shape)  # type: ignore[misc]


def _counts(draws: int, size: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(size, (draws, size), generator=generator)
    return torch.zeros(draws, size, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())


def _statistics(p: Tensor, a: Tensor, rows: Tensor, columns: Tensor, *, within: bool) -> Tensor:
    """Correlation, slope and error [3, d] of each resample; NaN where nothing varies."""
    n, m = p.shape
    error = (columns * (rows @ (a - p).abs())).sum(dim=1) / (n * m)
    # Only differences from the mean count; small numbers keep their digits.
    p, a = p - p.mean(dim=0 if within else None), a - a.mean(dim=0 if within else None)
    means = [rows @ side / n for side in (p, a, p * p, a * a, p * a)]
    if not within:
        means = [(columns * mean).sum(dim=1, keepdim=True) / m for mean in means]
        columns = torch.ones_like(means[0])
    mp, ma, pp, aa, pa = means
    var_p, var_a, both = ((columns * part).sum(dim=1) for part in (pp - mp * mp, aa - ma * ma, pa - mp * ma))
    return torch.stack([_over(both, (var_p * var_a).sqrt()), _over(both, var_p), error])


def _over(top: Tensor, bottom: Tensor) -> Tensor:
    return torch.where(bottom > 1e-12, top / bottom.clamp(min=1e-12), torch.nan)
