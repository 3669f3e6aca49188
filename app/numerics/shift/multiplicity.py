"""Holm's correction; Benjamini's and Hochberg's is `app.numerics.significance.benjamini_hochberg`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values: `max over j <= i of (m - j + 1) p_(j)`, capped at 1.

    Args:
        p_values: float array [m] in [0, 1]; NaN marks a hypothesis that was not tested and stays NaN.

    Returns:
        float64 [m]. Rejecting everything at or below `a` errs anywhere with probability at most `a`, however the tests
        depend on each other.

    Raises:
        ValueError: a p-value outside [0, 1], or more than one dimension.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError("p-values must be one array with values in [0, 1]")
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
