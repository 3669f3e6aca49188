"""What every figure of a shift comes as: a value with its interval, from redrawn rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Bounded(NamedTuple):
    """A value, the ends of its interval, and how many rows it rests on."""

    value: float
    low: float
    high: float
    n: int


def percentile_interval(value: float, draws: Floats, n: int, level: float = 0.95) -> Bounded:
    """The percentile bootstrap's interval: float64 [resamples] → `Bounded`; draws that are NaN are left out.

    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
    """
    usable = draws[np.isfinite(draws)]
    if not len(usable):
        return Bounded(value, float("nan"), float("nan"), n)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Bounded(value, float(low), float(high), n)
