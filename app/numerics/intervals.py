"""Confidence intervals for shares and for any statistic of a sample.

Counts come as integers or integer arrays and broadcast against each other; bounds come back as float64 arrays
of the broadcast shape (0-d for scalars). Shares are in [0, 1]; a group of no rows has the interval [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
Interval = tuple[Floats, Floats]


def wilson_interval(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share, without continuity correction.

    Args:
        successes: counts, any shape, 0 <= successes <= n.
        n: group sizes, broadcastable to `successes`.
        level: two-sided coverage in (0, 1).

    Returns:
        `(low, high)`, float64, clipped to [0, 1]: `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`.

    Raises:
        ValueError: a count outside [0, n], or a level outside (0, 1).

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927, eq. (7).
    """
    k, size = _counts(successes, n)
    z = _two_sided_z(level)
    safe = np.maximum(size, 1.0)
    share = k / safe
    centre = (share + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z * np.sqrt(share * (1 - share) / safe + z**2 / (4 * safe**2)) / (1 + z**2 / safe)
    low = np.where(k == 0, 0.0, centre - half)
    high = np.where(k == size, 1.0, centre + half)
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def clopper_pearson_interval(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Exact ("tail") interval of a share, by inverting the binomial test through beta quantiles.

    Args, returns and errors as for `wilson_interval`; coverage is at least `level` for every true share.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 1934.
    """
    k, size = _counts(successes, n)
    tail = _tail(level)
    inner_low = special.betaincinv(np.maximum(k, 1.0), size - k + 1, tail)
    inner_high = special.betaincinv(k + 1, np.maximum(size - k, 1.0), 1 - tail)
    low = np.where(k == 0, 0.0, inner_low)
    high = np.where(k == size, 1.0, inner_high)
    return low, high


def newcombe_difference_interval(
    successes_a: ArrayLike, n_a: ArrayLike, successes_b: ArrayLike, n_b: ArrayLike, level: float = 0.95
) -> Interval:
    """Interval of the difference `a/n_a - b/n_b` of two independent shares (hybrid score, method 10).

    Args:
        successes_a, n_a, successes_b, n_b: counts, mutually broadcastable.
        level: two-sided coverage in (0, 1).

    Returns:
        `(low, high)` in [-1, 1], float64; a positive interval says that the first share is the larger.

    Raises:
        ValueError: a count outside [0, n], or a level outside (0, 1).

    Source: Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 1998, method 10.
    """
    share_a, low_a, high_a = _share_with_wilson(successes_a, n_a, level)
    share_b, low_b, high_b = _share_with_wilson(successes_b, n_b, level)
    difference = share_a - share_b
    low = difference - np.hypot(share_a - low_a, high_b - share_b)
    high = difference + np.hypot(high_a - share_a, share_b - low_b)
    return np.asarray(low), np.asarray(high)


def bootstrap_interval(
    values: ArrayLike,
    generator: np.random.Generator,
    statistic: Callable[[Floats], Floats] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of one sample.

    Args:
        values: the sample, shape [n] or [n, columns] (rows are resampled together), n >= 1.
        generator: source of the resampling; the same state gives the same interval.
        statistic: maps resamples [b, n] (or [b, n, columns]) to [b]; the mean over rows when None.
        level: two-sided coverage in (0, 1).
        resamples: number of resamples, at least 1; work memory is bounded by blocks of resamples.

    Returns:
        `(low, high)`: the `(1-level)/2` and `(1+level)/2` quantiles of the resampled statistic.

    Raises:
        ValueError: an empty sample, no resamples, or a level outside (0, 1).

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) == 0 or resamples < 1:
        raise ValueError("a bootstrap interval needs at least one value and one resample")
    tail = _tail(level)
    compute = statistic or _mean_over_rows
    block = max(1, 4_000_000 // sample.size)
    draws = []
    for start in range(0, resamples, block):
        rows = generator.integers(0, len(sample), size=(min(block, resamples - start), len(sample)))
        draws.append(np.asarray(compute(sample[rows])))
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    return float(low), float(high)


def _mean_over_rows(resampled: Floats) -> Floats:
    return np.asarray(resampled.mean(axis=1))


def _share_with_wilson(successes: ArrayLike, n: ArrayLike, level: float) -> tuple[Floats, Floats, Floats]:
    k, size = _counts(successes, n)
    low, high = wilson_interval(k, size, level)
    share = np.where(size == 0, 0.5, k / np.maximum(size, 1.0))
    return share, low, high


def _counts(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    k, size = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if np.any(k < 0) or np.any(k > size):
        raise ValueError("successes must lie between 0 and n")
    return k, size


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), not {level}")
    return (1 - level) / 2


def _two_sided_z(level: float) -> float:
    return float(special.ndtri(1 - _tail(level)))
