"""Confidence intervals for shares and their differences.

Counts come as integers or integer arrays and broadcast against each other; bounds come back as float64 arrays
of the broadcast shape (0-d for scalars). Shares are in [0, 1]; a group of no rows has the interval [0, 1].
"""

from __future__ import annotations

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
    return _wilson(k, size, _two_sided_z(level))


def _wilson(k: Floats | np.float64, size: Floats | np.float64, z: float) -> Interval:
    safe = np.maximum(size, 1.0)
    share = k / safe
    centre = (share + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z * np.sqrt(share * (1 - share) / safe + z**2 / (4 * safe**2)) / (1 + z**2 / safe)
    low = np.where(k == 0, 0.0, centre - half)
    high = np.where(k == size, 1.0, centre + half)
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def mean_interval(values: ArrayLike, most: float = 1.0, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of numbers from 0 to `most`, by Student's t.

    Where all values are equal, or there is one, their spread says nothing; then Wilson's interval of a share that is
    as large, times `most`, which is too wide rather than too narrow.

    Args:
        values: float array [n] in [0, most].
        level: two-sided coverage in (0, 1).

    Returns:
        `(low, high)` within [0, most]; of no values, all of it.

    Source: Student, "The probable error of a mean", Biometrika 1908.
    """
    found = np.asarray(values, np.float64)
    n, mean = len(found), float(found.mean()) if len(found) else 0.0
    deviation = float(found.std(ddof=1)) if n > 1 else 0.0
    if deviation == 0.0:
        low, high = _wilson(np.float64(n * mean / most), np.float64(n), _two_sided_z(level))
        return float(low) * most, float(high) * most
    half = float(special.stdtrit(n - 1, 1 - _tail(level))) * deviation / n**0.5
    return max(mean - half, 0.0), min(mean + half, most)


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
