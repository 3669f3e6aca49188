"""Which groups became more or less frequent, and on which the model became better or worse."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from app.numerics.intervals import newcombe_difference_interval
from app.numerics.shift.estimates import Floats, Ints
from app.numerics.shift.multiplicity import holm
from app.numerics.significance import benjamini_hochberg


class Differences(NamedTuple):
    """Second share less first, of every group; float64 [k] each, NaN where a group has no rows in one of the sets."""

    difference: Floats
    low: Floats
    high: Floats
    p_value: Floats
    """Fisher's, two-sided."""
    holm: Floats
    """Adjusted so that no group at all is called wrongly."""
    q_value: Floats
    """Adjusted so that few of those called are called wrongly (Benjamini, Hochberg)."""


def differences(first: ArrayLike, first_n: ArrayLike, second: ArrayLike, second_n: ArrayLike) -> Differences:
    """Compare two independent sets' shares, group by group.

    Args:
        first, second: counts int [k] of each set. For prevalence: rows of the group; for accuracy: rows that are right.
        first_n, second_n: int [k] or one number, of how many. For prevalence: rows of the set; for accuracy: of the
            group in that set.

    Returns:
        `Differences` with Newcombe's intervals at 95 %, which are not adjusted.

    Raises:
        ValueError: counts that exceed their number.

    Source: Newcombe 1998, method 10; Fisher 1935; Holm 1979; Benjamini and Hochberg 1995.
    """
    a, n, b, m = np.broadcast_arrays(*(np.asarray(v, np.int64) for v in (first, first_n, second, second_n)))
    low, high = newcombe_difference_interval(b, m, a, n)
    asked = (n > 0) & (m > 0)
    p = np.array([fisher_p(*row) if use else np.nan for *row, use in zip(a, n, b, m, asked, strict=True)], np.float64)
    gap = np.where(asked, b / np.maximum(m, 1) - a / np.maximum(n, 1), np.nan)
    empty = ~asked
    return Differences(
        gap, np.where(empty, np.nan, low), np.where(empty, np.nan, high), p, holm(p), benjamini_hochberg(p)
    )


def fisher_p(a: int, n: int, b: int, m: int) -> float:
    """Fisher's exact two-sided p-value that a of n and b of m have one share: tables at most as likely are summed.

    Source: Agresti, "Categorical data analysis", 3rd ed., section 3.5.
    """
    hits = int(a) + int(b)
    x = np.arange(max(0, hits - int(m)), min(int(n), hits) + 1)
    log = _log_choose(n, x) + _log_choose(m, hits - x) - _log_choose(n + m, np.array(hits))
    mine = log[int(a) - x[0]]
    return float(min(1.0, np.exp(special.logsumexp(log[log <= mine + 1e-7]))))


def _log_choose(n: int, k: Ints) -> Floats:
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))
