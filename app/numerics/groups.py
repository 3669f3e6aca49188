"""Which groups of a sample are worse than chance would make them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from app.numerics.significance import slice_excess_p_value

Floats = NDArray[np.float64]
_STRAIGHT = 1e-3
"""Skewness below which the normal distribution is as good."""


def low_mean_p_values(values: ArrayLike, groups: Sequence[NDArray[np.int64]]) -> Floats:
    """One-sided p-values that each group's mean is low, had its members been drawn at random from all values.

    Values of 0 and 1 get Fisher's exact test. Others get the Pearson type III distribution with mean, variance and
    skewness of a mean of n values drawn without replacement from all m:
    `σ²/n · (m − n)/(m − 1)` and `γ · (m − 2n)/(m − 2) · sqrt((m − 1) / (n (m − n)))`, of all values' σ² and skewness γ.

    Args:
        values: float array [m].
        groups: for each of k groups the places of its members, int64 [n], without repetition.

    Returns:
        float64 [k] in (0, 1]; 1 for a group that is empty or holds all values, and where all values are equal.

    Source: Mielke and Berry, "Permutation Methods", 2nd ed., section 2.3; moments as in Cochran, "Sampling
    Techniques", 3rd ed., theorem 2.2 and section 2.15.
    """
    found = np.asarray(values, np.float64)
    sizes = np.array([len(group) for group in groups], np.int64)
    sums = np.array([found[group].sum() for group in groups], np.float64)
    if np.isin(found, (0.0, 1.0)).all():
        zeros = sizes - sums.astype(np.int64)
        return slice_excess_p_value(zeros, sizes, int((found == 0).sum()), len(found))
    m, inside = len(found), np.maximum(sizes * (len(found) - sizes), 1)
    spread = float(found.var()) * (m - sizes) / np.maximum(sizes * (m - 1), 1)
    testable = (sizes > 0) & (spread > 0)
    z = (sums / np.maximum(sizes, 1) - found.mean()) / np.sqrt(np.where(testable, spread, 1.0))
    skew = _skewness(found) * (m - 2 * sizes) / max(m - 2, 1) * np.sqrt((m - 1) / inside)
    return np.where(testable, np.maximum(_pearson_iii(z, skew), np.finfo(np.float64).tiny), 1.0)


def _skewness(values: Floats) -> float:
    centred, deviation = values - values.mean(), float(values.std())
    return float((centred**3).mean()) / deviation**3 if deviation else 0.0


def _pearson_iii(z: Floats, skew: Floats) -> Floats:
    """P(X <= z) of a gamma variable that is shifted and scaled to mean 0, variance 1 and this skewness."""
    tilted = np.where(np.abs(skew) < _STRAIGHT, _STRAIGHT, skew)
    shape = 4 / tilted**2
    place = np.maximum(shape + 2 * z / tilted, 0.0)
    found = np.where(tilted > 0, special.gammainc(shape, place), special.gammaincc(shape, place))
    return np.asarray(np.where(np.abs(skew) < _STRAIGHT, special.ndtr(z), found))
