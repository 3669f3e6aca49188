"""Mean scores over the audited images that a model gets wrong: their intervals, in words."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.audits.influence.page_ends import signed
from app.audits.influence.schema import InfluenceSummary, Method


def half_widths(train: pa.Table, method: Method) -> NDArray[np.float64]:
    """Half the width of each mean's 95 % interval, [N]; NaN where it is not known."""
    name = f"{method}.wrong_half"
    if name not in train.column_names:
        return np.full(len(train), np.nan)
    found: NDArray[np.float64] = train[name].to_numpy().astype(np.float64)
    return found


def bounded(mean: float, half: float) -> str:
    """Return a mean score with half its interval's width."""
    return f"{signed(mean)} ± {signed(half)[1:]}" if math.isfinite(half) else signed(mean)


def mistakes(summary: InfluenceSummary) -> str:
    """Return what such a mean is over, with its n."""
    n = f"{summary.mistakes:,} " if summary.mistakes else ""
    return f"the {n}audited images that the model gets wrong"
