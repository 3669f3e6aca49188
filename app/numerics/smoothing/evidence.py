"""Is a share above a bound? Tests that may be looked at after every draw and stopped at any time.

The likelihood of the draws, averaged over shares above the bound, is compared with the likelihood at the bound. While
the true share is at most the bound, that ratio is a nonnegative supermartingale that starts at one, so that it ever
reaches 1/α with probability at most α (Ville).

Source: Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of Mathematical Statistics
1970; the mixture is Jeffreys' Beta(½, ½), cut off at the bound.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from app.numerics.smoothing.radius import share_needed

Floats = NDArray[np.float64]
_PRIOR = 0.5
_FIRST, _GROWTH = 16, 8
CERTIFIED, REFUTED, OPEN = 1, 0, -1


def log_evidence(hits: ArrayLike, misses: ArrayLike, bound: ArrayLike) -> tuple[Floats, Floats]:
    """Log of the evidence that a share is above `bound`, and that it is below.

    Args:
        hits, misses: counts ≥ 0, any shapes that broadcast.
        bound: in (0, 1).

    Returns:
        Two float64 arrays of the broadcast shape. Whoever rejects "at most the bound" when the first reaches
        log(1/α), at whatever time, is wrong with probability at most α; the second likewise for "at least the bound".
    """
    k, m, p = (np.asarray(values, np.float64) for values in (hits, misses, bound))
    ratio = special.betaln(_PRIOR + k, _PRIOR + m) - special.betaln(_PRIOR, _PRIOR) - k * np.log(p) - m * np.log1p(-p)
    with np.errstate(divide="ignore"):
        above = np.log(special.betaincc(_PRIOR + k, _PRIOR + m, p)) - np.log(special.betaincc(_PRIOR, _PRIOR, p))
        below = np.log(special.betainc(_PRIOR + k, _PRIOR + m, p)) - np.log(special.betainc(_PRIOR, _PRIOR, p))
    return ratio + above, ratio + below


class RadiusTest:
    """Asks of one image at which of some radii its class is certified, at one error probability for all of them.

    A radius counts as certified when it and all smaller ones are: the smallest that is truly not certified is passed
    with probability at most α, and every other mistake needs that one. Likewise from the largest down for "not".
    """

    def __init__(self, radii: ArrayLike, sigma: float, alpha: float, most: int) -> None:
        """`radii` rise, from 0 on (0: does it abstain?); after `most` draws what is open stays open."""
        self._bounds, self._enough, self._most = share_needed(radii, sigma), -math.log(alpha), most
        self._above, self._below = (np.zeros(len(self._bounds), bool) for _ in range(2))
        self.n = self.hits = 0

    @property
    def decided(self) -> NDArray[np.int8]:
        """For each radius `CERTIFIED`, `REFUTED` or `OPEN`, int8."""
        yes = np.logical_and.accumulate(self._above)
        no = np.logical_and.accumulate(self._below[::-1])[::-1]
        return np.where(yes, CERTIFIED, np.where(no, REFUTED, OPEN)).astype(np.int8)

    def wanted(self) -> int:
        """How many draws to make next; 0 where nothing that is open can be certified any more, or too many were made.

        It depends on nothing but the draws of this image.
        """
        left = self._most - self.n
        opened = self.decided == OPEN
        reachable = log_evidence(self.hits + left, self.n - self.hits, self._bounds)[0] >= self._enough
        if left <= 0 or not (opened & reachable).any():
            return 0
        return min(left, max(_FIRST, self.n // _GROWTH))

    def tell(self, hits: int, draws: int) -> None:
        """Take in further draws."""
        self.hits, self.n = self.hits + hits, self.n + draws
        above, below = log_evidence(self.hits, self.n - self.hits, self._bounds)
        self._above |= above >= self._enough
        self._below |= below >= self._enough


def farthest_asked(n: int, alpha: float, sigma: float) -> float:
    """The largest radius that a `RadiusTest` of at most `n` draws can certify, when every one of them is a hit."""
    low, high = 0.0, 8.0
    for _ in range(50):
        middle = (low + high) / 2
        reached = log_evidence(n, 0, share_needed(middle, 1.0))[0] >= -math.log(alpha)
        low, high = (middle, high) if reached else (low, middle)
    return low * sigma
