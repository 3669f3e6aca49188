"""Shares of counted images with their intervals, as pages and exports state them."""

from __future__ import annotations

from app.audits.pieces import Estimate
from app.numerics.intervals import wilson_interval


def estimate(k: int, n: int) -> Estimate:
    """Return k of n with its 95 % Wilson interval; of nothing, the whole unit interval."""
    low, high = wilson_interval(k, n)
    return Estimate(value=k / n if n else 0.0, low=float(low), high=float(high), n=n)
