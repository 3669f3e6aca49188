"""Intercepts of linear SVMs: the optimal one, and libsvm's where the objective leaves it open."""

from functools import lru_cache
from random import Random

import torch
from torch import Tensor


def optimal_intercept(signs: Tensor, scores: Tensor, upper: Tensor) -> Tensor:
    """The intercept that minimises the hinge loss for given scores w.x; the middle where an interval does.

    The loss is piecewise linear in b with a kink at y_i - f_i of weight `upper`_i, and falls as long as less than
    half of the weight lies to the left: a weighted median. `signs`, `scores`, `upper` are [..., n] with upper = 0
    at padding; returns [...].
    """
    kinks, order = torch.where(upper > 0, signs - scores, torch.inf).sort(-1)
    weight = upper.to(torch.float64).gather(-1, order).cumsum(-1)
    half = weight[..., -1:] / 2
    slack = 1e-6 * half  # class weights balance the two sides up to the rounding of float32
    left = (weight < half - slack).sum(-1, keepdim=True)
    right = (weight <= half + slack).sum(-1, keepdim=True)
    return ((kinks.gather(-1, left) + kinks.gather(-1, right)) / 2)[..., 0]


def saturated_intercept(top: Tensor, bottom: Tensor, side: Tensor) -> Tensor:
    """libsvm's intercept where every alpha is at its upper bound.

    Any b in [-1 - bottom, 1 - top] is optimal then, with `top` the largest score of the positive and `bottom` the
    smallest of the negative rows. `side` says which b libsvm returns: +1 the upper end, -1 the lower end, 0 the
    middle. All are [...].
    """
    return torch.where(side > 0, 1 - top, torch.where(side < 0, -1 - bottom, -(top + bottom) / 2))


def saturated_sides(positives: Tensor, negatives: Tensor, cost: float) -> Tensor:
    """`saturated_side` with balanced class weights for counts `positives`, `negatives` (int64 [m]); int64 [m]."""
    sides = []
    for n_positive, n_negative in zip(positives.tolist(), negatives.tolist(), strict=True):
        total = n_positive + n_negative
        upper = [cost * (total / (2 * count)) for count in (n_positive, n_negative)]
        sides.append(saturated_side(n_positive, n_negative, upper[0], upper[1]))
    return torch.tensor(sides, dtype=torch.int64, device=positives.device)


@lru_cache(maxsize=65536)
def saturated_side(n_positive: int, n_negative: int, upper_positive: float, upper_negative: float) -> int:
    """Which end of the open interval libsvm's intercept takes when all alphas reach their bounds.

    Balanced weights make both sides equal, so in exact arithmetic no alpha stays free and b is the middle. In
    floating point libsvm's pairwise updates (Chang & Lin, 2011, section 4.1.4: clip one alpha, keep the difference)
    leave an alpha short by a rounding error, count it as free, and take b from it alone: +1 if it is positive, -1
    if negative, 0 if none is left. The outcome depends on the counts and the bounds, hardly on the rows; the updates
    are replayed here on pairs in a fixed arbitrary order, so that cross-validated scores at small C, and with them
    the chosen C, agree with scikit-learn's (in 99 of 100 cases).
    """
    # scikit-learn sorts the labels, so libsvm's first class is the negative one
    first, second = [0.0] * n_negative, [0.0] * n_positive
    draw = Random(0).random  # noqa: S311 (an order, not a secret)
    while first and second:
        i, j = int(draw() * len(first)), int(draw() * len(second))
        first[i], second[j] = _fill(first[i], second[j], upper_negative, upper_positive)
        _drop_full(first, i, upper_negative)
        _drop_full(second, j, upper_positive)
    return bool(second) - bool(first)


def _fill(a: float, b: float, upper_a: float, upper_b: float) -> tuple[float, float]:
    """Raise two alphas of opposite classes together until one reaches its bound."""
    difference = a - b
    if difference > upper_a - upper_b:
        return upper_a, upper_a - difference
    return upper_b + difference, upper_b


def _drop_full(alphas: list[float], at: int, upper: float) -> None:
    if alphas[at] >= upper:
        alphas[at] = alphas[-1]
        alphas.pop()
