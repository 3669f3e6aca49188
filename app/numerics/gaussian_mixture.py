"""Gaussian mixtures by EM, with categorical columns beside the real ones."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from app.numerics.kmeans import kmeans

Covariance = Literal["diag", "full"]
RIDGE = 1e-6
SMOOTHING = 1e-6


class Mixture(NamedTuple):
    """A fitted mixture of k components over d real and any number of categorical columns; float64 throughout."""

    weights: Tensor
    """[k], sums to 1."""
    means: Tensor
    """[k, d]."""
    covariances: Tensor
    """[k, d] variances, or [k, d, d] when full."""
    tables: tuple[Tensor, ...]
    """One [k, categories] per categorical column; each row a distribution."""
    log_likelihood: float
    """Mean log-likelihood of the rows it was fitted on, at weight 1 of the real columns."""
    converged: bool


def fit_mixture(
    points: Tensor,
    components: int,
    generator: torch.Generator,
    covariance: Covariance = "diag",
    categories: tuple[Tensor, ...] = (),
    category_weight: float = 1.0,
    iterations: int = 100,
    tolerance: float = 1e-3,
    start: Tensor | None = None,
) -> Mixture:
    """Fit a mixture by EM, from a k-means start unless one is given.

    A component's log-density of a row is `log N(x; mean, covariance) + category_weight · sum log table[category]`.

    Args:
        points: float [n, d].
        components: number of components; at most n are used.
        generator: source of the k-means++ seeding.
        covariance: "diag" or "full"; 1e-6 is added to each variance.
        categories: int64 [n] each, values from 0; the number of categories is the largest value + 1.
        category_weight: how much the categorical columns count.
        iterations: most EM steps.
        tolerance: stop when the mean log-likelihood rises by less.
        start: float [n, k], each row's share in each component; then `components` and `generator` are not used.

    Returns:
        `Mixture`.

    Raises:
        ValueError: no points, or no components (from k-means).

    Sources: Dempster, Laird, Rubin 1977; Bishop, "Pattern recognition and machine learning", 2006, section 9.2.
    """
    x = points.to(torch.float64)
    share = _kmeans_start(x, components, generator) if start is None else start.to(torch.float64)
    previous = -math.inf
    mixture = _maximise(x, share, covariance, categories)
    for _ in range(iterations):
        joint = log_joint(mixture, x, categories, category_weight)
        total = joint.logsumexp(dim=1)
        value = float(total.mean())
        if value - previous < tolerance:
            return mixture._replace(log_likelihood=value, converged=True)
        previous = value
        mixture = _maximise(x, (joint - total[:, None]).exp(), covariance, categories)
    value = float(log_joint(mixture, x, categories, category_weight).logsumexp(dim=1).mean())
    return mixture._replace(log_likelihood=value)


def log_joint(
    mixture: Mixture, points: Tensor, categories: tuple[Tensor, ...] = (), category_weight: float = 1.0
) -> Tensor:
    """Log of weight times density of each row under each component: float64 [n, k].

    A category beyond the fitted table counts as never seen (log-probability of the smoothing).
    """
    joint = _log_gauss(mixture, points.to(torch.float64)) + mixture.weights.log()
    for table, column in zip(mixture.tables, categories, strict=True):
        known = torch.cat([table, table.new_full((len(table), 1), SMOOTHING)], dim=1).log()
        joint = joint + category_weight * known[:, column.clamp(max=table.shape[1])].T
    return joint


def responsibilities(
    mixture: Mixture, points: Tensor, categories: tuple[Tensor, ...] = (), category_weight: float = 1.0
) -> Tensor:
    """Posterior probability of each component for each row: float64 [n, k], rows sum to 1."""
    return log_joint(mixture, points, categories, category_weight).softmax(dim=1)


def bayesian_information(mixture: Mixture, n: int) -> float:
    """BIC of the mixture on the n rows it was fitted on, `p log n - 2 log L`; **small = better** (Schwarz 1978)."""
    k, d = mixture.means.shape
    per_component = d + (d if mixture.covariances.dim() == 2 else d * (d + 1) // 2)
    per_component += sum(table.shape[1] - 1 for table in mixture.tables)
    return (k * per_component + k - 1) * math.log(n) - 2 * mixture.log_likelihood * n


def _kmeans_start(x: Tensor, components: int, generator: torch.Generator) -> Tensor:
    labels = kmeans(x, components, generator).labels
    return torch.nn.functional.one_hot(labels, min(components, len(x))).to(torch.float64)


def _maximise(x: Tensor, share: Tensor, covariance: Covariance, categories: tuple[Tensor, ...]) -> Mixture:
    total = share.sum(dim=0) + 10 * torch.finfo(torch.float64).eps
    means = share.T @ x / total[:, None]
    if covariance == "diag":
        spread = (share.T @ x**2 / total[:, None] - means**2).clamp(min=0) + RIDGE
    else:
        spread = torch.stack([_full_covariance(x, w, m) for w, m in zip(share.T, means, strict=True)])
    tables = tuple(_table(column, share) for column in categories)
    return Mixture(total / total.sum(), means, spread, tables, -math.inf, converged=False)


def _full_covariance(x: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
    centred = x - mean
    total = weight.sum() + 10 * torch.finfo(torch.float64).eps
    return (weight[:, None] * centred).T @ centred / total + RIDGE * torch.eye(
        x.shape[1], dtype=x.dtype, device=x.device
    )


def _table(column: Tensor, share: Tensor) -> Tensor:
    counts = share.new_zeros((int(column.max()) + 1, share.shape[1])).index_add_(0, column, share) + SMOOTHING
    return (counts / counts.sum(dim=0)).T


def _log_gauss(mixture: Mixture, x: Tensor) -> Tensor:
    d = x.shape[1]
    if mixture.covariances.dim() == 2:
        precision = 1 / mixture.covariances
        squares = x**2 @ precision.T - 2 * x @ (mixture.means * precision).T + (mixture.means**2 * precision).sum(dim=1)
        log_det = mixture.covariances.log().sum(dim=1)
    else:
        root = torch.linalg.cholesky(mixture.covariances)
        away = (x[None] - mixture.means[:, None]).transpose(1, 2)
        squares = (torch.linalg.solve_triangular(root, away, upper=False) ** 2).sum(dim=1).T
        log_det = 2 * root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return -0.5 * (squares + log_det + d * math.log(2 * math.pi))
