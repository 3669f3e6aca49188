"""Exact ranking by cosine at the cost of one product per row.

The cosine of a standardised row with a direction u is `(x . w - m . w) / length`, with `w = u / s`, mean m, standard
deviation s and `length = |(x - m) / s|`: one product with the row as it lies in memory. Rounding makes that a little
wrong; a bound of its error decides most rows, and only those near a cut are scored again in full.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Exact = Callable[[Ints], Floats]
"""Indices int64 [m] into the bounded rows → their scores in full, float32 [m]."""
ROUNDING = 2.0**-23
_SHORTEST = 1e-12


class Weight(NamedTuple):
    """A direction as one product with raw rows."""

    values: Floats
    """float32 [d]: the unit direction divided by the standard deviation."""
    shift: float
    """Product of the mean with it."""
    magnitude: float
    """The same with every term positive."""


class Bounds(NamedTuple):
    """Between `low` and `high`, float32 [n], lies the cosine of each row."""

    low: Floats
    high: Floats


def raw_weight(direction: Floats, mean: Floats, std: Floats) -> Weight:
    """Return what to multiply raw rows with, for a direction in standardised space; all float32 [d], std > 0."""
    norm = np.linalg.norm(direction.astype(np.float64))
    values = (direction / (norm or 1.0) / std).astype(np.float32)
    terms = mean.astype(np.float64) * values
    return Weight(values, float(terms.sum()), float(np.abs(terms).sum()))


def cosine_bounds(products: Floats, lengths: Floats, weight: Weight) -> Bounds:
    """Bound the cosines of rows.

    Args:
        products: float32 [n], of the raw rows with `weight.values`, summed in float32 in any order.
        lengths: float32 [n], of the standardised rows.
        weight: see `raw_weight`.

    The error of a sum of d products is at most `d · 2⁻²⁴ · Σ|x w|` (Higham, "Accuracy and stability of numerical
    algorithms", 2002, section 3.1), and `Σ|x w| <= Σ|m w| + length`. Twice that, and a little for the other roundings,
    on both sides: the score in full, which also rounds, lies within.
    """
    safe = np.maximum(lengths, _SHORTEST).astype(np.float64)
    cosines = (products - weight.shift) / safe
    slack = (len(weight.values) + 16) * ROUNDING * (weight.magnitude / safe + 4)
    return Bounds((cosines - slack).astype(np.float32), (cosines + slack).astype(np.float32))


def largest(bounds: Bounds, count: int, exact: Exact) -> tuple[Ints, Floats]:
    """The `count` rows with the largest scores: (indices int64, scores float32), largest first.

    Among equal scores the earlier row comes first.
    """
    count = min(count, len(bounds.low))
    if count == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    possible = np.flatnonzero(bounds.high >= _kth_largest(bounds.low, count))
    scores = exact(possible)
    order = np.argsort(-scores, kind="stable")[:count]
    return possible[order], scores[order]


def share_members(bounds: Bounds, share: float, exact: Exact) -> NDArray[np.bool_]:
    """Membership bool [n] of the given share of rows with the largest scores, as `ranking.top_share` of all scores.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share must lie in (0, 1], not {share}")
    if not len(bounds.low):
        return np.zeros(0, bool)
    count = max(1, round(share * len(bounds.low)))
    # At most count - 1 rows can lie above `highest`, and at least count lie at or above `lowest`.
    lowest, highest = _kth_largest(bounds.low, count), _kth_largest(bounds.high, count)
    members = np.asarray(bounds.low > highest)
    open_rows = np.flatnonzero((bounds.high >= lowest) & ~members)
    order = np.argsort(-exact(open_rows), kind="stable")[: count - int(members.sum())]
    members[open_rows[order]] = True
    return members


def _kth_largest(values: Floats, count: int) -> np.float32:
    place = len(values) - count
    found: np.float32 = np.partition(values, place)[place]
    return found
