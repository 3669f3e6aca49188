"""Exact tests of a group against the rest of its class, and offline multiplicity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]


def slice_excess_p_value(
    slice_errors: ArrayLike, slice_n: ArrayLike, class_errors: ArrayLike, class_n: ArrayLike
) -> Floats:
    """Exact one-sided p-value that a slice fails more often than the rest of its class.

    Fisher's exact test conditions on the margins: of the class's `class_n` rows `class_errors` are errors, and
    if membership says nothing about errors, the slice's count of errors is hypergeometric.
    `p = P(X >= slice_errors)` with `X ~ Hypergeometric(class_n, class_errors, slice_n)`.

    Args:
        slice_errors, slice_n: errors and rows of the slice, integer arrays of any shape.
        class_errors, class_n: errors and rows of the whole class, the slice included; broadcastable.

    Returns:
        float64 in (0, 1], the broadcast shape; small = the slice is worse than the rest of its class. An empty
        slice, or one that is the whole class, has p = 1.

    Raises:
        ValueError: counts that contradict each other (e.g. more errors in the slice than in the class).

    Source: Fisher, "The logic of inductive inference", JRSS 1935; exactness as in Agresti, "Categorical Data
    Analysis", 3rd ed., section 3.5.
    """
    arrays = np.broadcast_arrays(*(np.asarray(a, np.int64) for a in (slice_errors, slice_n, class_errors, class_n)))
    k, n, bad, total = arrays
    if np.any((k < 0) | (k > n) | (k > bad) | (bad > total) | (n - k > total - bad)):
        raise ValueError("the slice's counts must fit inside the counts of its class")
    flat = np.stack([a.ravel() for a in arrays], axis=1)
    unique, inverse = np.unique(flat, axis=0, return_inverse=True)
    tails = np.array([_upper_tail(*row) for row in unique.tolist()], dtype=np.float64)
    return np.asarray(tails[inverse.ravel()].reshape(k.shape))


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Benjamini-Hochberg adjusted p-values: `q_(i) = min over j >= i of m p_(j) / j`, capped at 1.

    Args:
        p_values: float array [m] in [0, 1]; NaN marks a hypothesis that was not tested and stays NaN.

    Returns:
        float64 [m]. Calling everything with `q <= a` a finding keeps the expected share of false findings at or
        below `a` for independent or positively dependent tests.

    Raises:
        ValueError: a p-value outside [0, 1], or more than one dimension.

    Source: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995, section 3.1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError("p-values must be one array with values in [0, 1]")
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _upper_tail(k: int, n: int, bad: int, total: int) -> float:
    """P(X >= k), summed in log space over the shorter side: each term is exact to rounding, none underflows early."""
    low, high = max(0, n - (total - bad)), min(n, bad)
    if k <= low:
        return 1.0
    x = np.arange(k, high + 1, dtype=np.float64)
    tail = float(np.exp(special.logsumexp(_log_pmf(x, n, bad, total))))
    return min(max(tail, np.finfo(np.float64).tiny), 1.0)


def _log_pmf(x: Floats, n: int, bad: int, total: int) -> Floats:
    value: Floats = _log_choose(bad, x) + _log_choose(total - bad, n - x) - _log_choose(total, np.float64(n))
    return value


def _log_choose(n: int, k: Floats | np.float64) -> Floats:
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))
