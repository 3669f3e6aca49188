"""Data Shapley values by truncated Monte Carlo over permutations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Utility = Callable[[NDArray[np.int64]], float]
"""Indices of the training rows used → the value of training on them."""


class ShapleyEstimate(NamedTuple):
    """`values` float64 [N], their standard errors [N], and the number of permutations drawn."""

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    permutations: int


def data_shapley(
    utility: Utility,
    count: int,
    generator: np.random.Generator,
    *,
    permutations: int = 200,
    tolerance: float = 0.0,
    target_error: float = 0.0,
) -> ShapleyEstimate:
    """Mean marginal contribution of each training row over random orders.

    Args:
        utility: value of a training set; called with sets in which order does not matter, the empty one included.
        count: number of training rows N, at least 1.
        generator: source of the orders.
        permutations: most orders to draw.
        tolerance: an order is cut off when the value is this close to that of all rows; what follows counts as zero.
        target_error: stop early when every standard error is at most this (checked from 10 orders on).

    Raises:
        ValueError: no rows.

    Source: Ghorbani, Zou 2019, "Data Shapley", algorithm 1 (TMC-Shapley).
    """
    if count < 1:
        raise ValueError("Data Shapley needs at least one training row.")
    whole, empty = utility(np.arange(count)), utility(np.arange(0))
    total, squares, drawn = np.zeros(count), np.zeros(count), 0
    for drawn in range(1, permutations + 1):
        gains = _walk(utility, generator.permutation(count), (empty, whole), tolerance)
        total, squares = total + gains, squares + gains**2
        if drawn >= 10 and _errors(total, squares, drawn).max() <= target_error:
            break
    return ShapleyEstimate(total / drawn, _errors(total, squares, drawn), drawn)


def _walk(
    utility: Utility, order: NDArray[np.int64], ends: tuple[float, float], tolerance: float
) -> NDArray[np.float64]:
    gains, (value, whole) = np.zeros(len(order)), ends
    for place, row in enumerate(order):
        if abs(whole - value) < tolerance:
            break
        after = whole if place == len(order) - 1 else utility(np.sort(order[: place + 1]))
        gains[row], value = after - value, after
    return gains


def _errors(total: NDArray[np.float64], squares: NDArray[np.float64], drawn: int) -> NDArray[np.float64]:
    variance = np.maximum(squares / drawn - (total / drawn) ** 2, 0)
    return np.sqrt(variance / max(drawn - 1, 1))
