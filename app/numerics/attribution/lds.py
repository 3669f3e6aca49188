"""The linear datamodelling score: how well attributions predict what retraining on a subset gives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LinearDatamodellingScore(NamedTuple):
    """`value` in [−1, 1] with its 95 % bootstrap interval, what it was computed from, and what could be reached.

    `repeatability` is the mean rank correlation of two single retrainings on the same subsets; `ceiling` the value that
    a perfect attribution would reach against truth averaged over as many; NaN with one retraining a subset.
    """

    value: float
    low: float
    high: float
    subsets: int
    targets: int
    retrainings: int
    repeatability: float
    ceiling: float


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's ρ of matching columns, float64 [m]; ties get their mean rank; 0 where a column is constant.

    Args:
        a, b: float [n, m].
    """
    x, y = (_ranks(side) for side in (a, b))
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    bottom = (x.square().sum(dim=0) * y.square().sum(dim=0)).sqrt()
    return torch.where(bottom > 0, (x * y).sum(dim=0) / bottom.clamp(min=1e-300), 0.0)


def linear_datamodelling_score(
    scores: Tensor, masks: Tensor, truth: Tensor, generator: torch.Generator, draws: int = 1000
) -> LinearDatamodellingScore:
    """Mean over targets of the rank correlation, over subsets S, of Σ_{i∈S} τ_i with the retrained output.

    Args:
        scores: float [N, m], attributions.
        masks: bool [M, N], the subsets.
        truth: float [R, M, m], outputs of R retrainings on each subset; their mean is the truth.
        generator: source of the bootstrap over subsets and targets.
        draws: bootstrap samples.

    Raises:
        ValueError: fewer than 3 subsets, or shapes that do not belong together.

    Source: Park et al. 2023 (TRAK), definition 2.3. Ceiling: Spearman–Brown, √(R r / (1 + (R − 1) r)).
    """
    if len(masks) < 3 or scores.shape[0] != masks.shape[1] or truth.shape[1:] != (len(masks), scores.shape[1]):
        raise ValueError("The score needs at least 3 subsets, with an output for each subset and target.")
    return score_predictions(masks.to(scores.dtype) @ scores, truth, generator, draws)


def score_predictions(
    predicted: Tensor, truth: Tensor, generator: torch.Generator, draws: int = 1000
) -> LinearDatamodellingScore:
    """The same for what attributions predict of each subset, float [M, m], up to a constant."""
    mean = truth.mean(dim=0)
    value = float(rank_correlation(predicted, mean).mean())
    samples = _bootstrap(predicted, mean, generator, draws)
    low, high = torch.quantile(samples, torch.tensor([0.025, 0.975], dtype=samples.dtype)).tolist()
    repeat = _repeatability(truth)
    count = len(truth)
    ceiling = (max(repeat, 0.0) * count / (1 + (count - 1) * max(repeat, 0.0))) ** 0.5
    return LinearDatamodellingScore(
        value, low, high, len(predicted), predicted.shape[1], count, repeat, ceiling if count > 1 else float("nan")
    )


def _bootstrap(predicted: Tensor, truth: Tensor, generator: torch.Generator, draws: int) -> Tensor:
    samples = []
    for _ in range(draws):
        rows = torch.randint(len(truth), (len(truth),), generator=generator)
        columns = torch.randint(truth.shape[1], (truth.shape[1],), generator=generator)
        samples.append(rank_correlation(predicted[rows], truth[rows]).to(torch.float64)[columns].mean())
    return torch.stack(samples)


def _repeatability(truth: Tensor) -> float:
    pairs = [(i, j) for i in range(len(truth)) for j in range(i)]
    if not pairs:
        return float("nan")
    return float(torch.stack([rank_correlation(truth[i], truth[j]).mean() for i, j in pairs]).mean())


def _ranks(values: Tensor) -> Tensor:
    """Mean ranks of each column: the mean of the first and the last place that a value takes."""
    columns = values.double().T.contiguous()
    ordered = columns.sort(dim=1).values
    first = torch.searchsorted(ordered, columns)
    last = torch.searchsorted(ordered, columns, right=True)
    return (first + last - 1).double().T / 2
