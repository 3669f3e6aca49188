"""How far a budget's noisy copies can certify at all. Imports no torch."""

from __future__ import annotations

from typing import Literal

from app.numerics.smoothing.evidence import farthest_asked
from app.numerics.smoothing.radius import farthest_radius

Budget = Literal["quick", "standard", "thorough"]
COPIES: dict[Budget, int] = {"quick": 2000, "standard": 10_000, "thorough": 100_000}
"""Noisy copies of an image that a budget draws at most, beside those that choose the class."""


def reach(budget: Budget, alpha: float, sigma: float) -> float:
    """The largest radius that a budget's copies can certify, when every one of them is taken for the class."""
    return (farthest_asked if budget == "quick" else farthest_radius)(COPIES[budget], alpha, sigma)
