"""Maximum mean discrepancy: whether two sets of vectors come from one distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.numerics.streams import stream

Rows = NDArray[np.float32]

MOST = 2000
"""Rows of each set that are compared at most: the kernel matrix takes 4 · (2 · MOST)² bytes."""
LEAST = 2


class MMDResult(NamedTuple):
    """What `mmd_test` found."""

    statistic: float
    """Unbiased estimate of MMD²: near 0, and as often below it, where the sets do not differ."""
    p_value: float
    """One-sided, in [1 / (permutations + 1), 1]."""
    bandwidth: float
    """σ of the kernel exp(−‖a − b‖² / 2σ²)."""
    null_95: float
    """95 % of the permutations lie at or below it."""
    n_x: int
    """Rows of the first set that were compared."""
    n_y: int
    permutations: int
    null: NDArray[np.float64]
    """[permutations], the statistic of each."""


def mmd_test(x: Rows, y: Rows, permutations: int = 1000, *, seed: int, most: int = MOST) -> MMDResult:
    """Test that two sets of vectors have one distribution, by the unbiased MMD² with a Gaussian kernel.

    The kernel matrix is computed once; all permutations together are one product of it with their indicator vectors.

    Args:
        x: float [n, d], n >= 2.
        y: float [m, d], m >= 2.
        permutations: relabellings of the pooled rows, at least 1.
        seed: of the permutations, and of the rows that are drawn where a set has more than `most`.
        most: rows of each set that are compared at most.

    Returns:
        `MMDResult`. 2σ² is the median of squared distances over all pairs of pooled rows (their mean where the median
        is zero). The p-value is exact for exchangeable rows: (1 + permutations at least as large) / (1 + permutations).

    Raises:
        ValueError: fewer than two rows, different dimensions, NaN or infinity, or no permutations.

    Source: Gretton, Borgwardt, Rasch, Schölkopf, Smola, "A kernel two-sample test", JMLR 2012, equation (3), and
    section 8 for the median; Phipson and Smyth 2010 for the p-value.
    """
    _check(x, y, permutations)
    rng = np.random.Generator(stream(seed, "mmd"))
    x, y = _some(x, most, rng), _some(y, most, rng)
    n, m = len(x), len(y)
    kernel, bandwidth = _kernel(np.concatenate([x, y]).astype(np.float32))
    first = np.zeros((permutations + 1, n + m), np.float32)
    first[:, :n] = 1
    first[1:] = rng.permuted(first[1:], axis=1)
    found = _statistics(kernel, first, n, m)
    slack = 1e-6 * float(np.abs(found).max(initial=0.0))
    larger = int((found[1:] >= found[0] - slack).sum())
    return MMDResult(
        float(found[0]), (1 + larger) / (1 + permutations), bandwidth, float(np.quantile(found[1:], 0.95)), n, m,
        permutations, found[1:],
    )  # fmt: skip


def pooled_p(found: Sequence[MMDResult]) -> float:
    """One p-value for several independent tests of as many permutations each: of the sum of their statistics.

    Each statistic is taken in units of its own null's spread, so that no test drowns the others. Exact as `mmd_test`'s,
    but for that spread, which is of the permutations alone; 1 without tests.

    Source: van Elteren 1960 for sums over strata, permuted within each; Phipson and Smyth 2010.
    """
    if not found:
        return 1.0
    spread = [float(result.null.std()) or 1.0 for result in found]
    observed = sum(result.statistic / unit for result, unit in zip(found, spread, strict=True))
    null = np.sum([result.null / unit for result, unit in zip(found, spread, strict=True)], axis=0)
    larger = int((null >= observed - 1e-6 * (abs(observed) + 1)).sum())
    return (1 + larger) / (1 + len(null))


def _check(x: Rows, y: Rows, permutations: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < LEAST or permutations < 1:
        raise ValueError("MMD needs two sets of at least two vectors of one dimension, and permutations")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("vectors must be finite")


def _some(rows: Rows, most: int, rng: np.random.Generator) -> Rows:
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.sort(rng.choice(len(rows), most, replace=False))])


def _kernel(rows: Rows) -> tuple[Rows, float]:
    """The kernel less its mean off the diagonal, and 0 on it: a constant cancels out of MMD², and rounding with it."""
    rows = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = np.einsum("ij,ij->i", rows, rows)
    distance = np.maximum(squares[:, None] + squares[None] - 2 * (rows @ rows.T), 0)
    np.fill_diagonal(distance, 0)
    pairs = distance[np.triu_indices(len(rows), 1)]
    scale = float(np.median(pairs)) or float(pairs.mean())
    if not scale:
        return np.zeros_like(distance), 0.0
    kernel = np.exp(distance * np.float32(-1 / scale))
    np.fill_diagonal(kernel, 0)
    count = len(rows) * (len(rows) - 1)
    kernel -= np.float32(kernel.sum(dtype=np.float64) / count)
    np.fill_diagonal(kernel, 0)
    return kernel, (scale / 2) ** 0.5


def _statistics(kernel: Rows, first: Rows, n: int, m: int) -> NDArray[np.float64]:
    """MMD² for every row of indicators of the first set: float32 [p, n + m] → float64 [p]."""
    sums = kernel.sum(axis=1, dtype=np.float64)
    within_x = np.einsum("ij,ij->i", first @ kernel, first, dtype=np.float64)
    touching = first @ sums
    between = touching - within_x
    within_y = sums.sum() - touching - between
    found: NDArray[np.float64] = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)
    return found
