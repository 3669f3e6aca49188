"""How often each class occurs among images without labels, and whether that differs from the labelled ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.numerics.shift.estimates import Floats, Ints
from app.numerics.streams import stream

SINGULAR = 0.1
"""Smallest singular value of P(predicted | true) below which sampling errors are magnified more than tenfold."""
_EM_STEPS, _EM_END = 1000, 1e-8


class LabelShift(NamedTuple):
    """Class shares, each float64 [c]; NaN for classes that no labelled row has."""

    source: Floats
    target: Floats
    """Estimated by black-box shift estimation."""
    low: Floats
    high: Floats
    weights: Floats
    """Target share over source share: by how much a labelled row of the class counts."""
    p_value: float
    """That predictions are as frequent in both sets; small = the classes' shares moved, if nothing else did."""
    smallest_singular: float
    near_singular: bool
    """The model confuses some classes so much that their shares cannot be told apart: do not read them singly."""
    n_source: int
    n_target: int


def label_shift(
    labels: ArrayLike,
    predicted: ArrayLike,
    target_predicted: ArrayLike,
    classes: int,
    *,
    seed: int,
    resamples: int = 500,
    permutations: int = 2000,
) -> LabelShift:
    """Estimate the target's class shares from predictions alone, if images of a class look as they did (label shift).

    Args:
        labels: int [n] in [0, classes), of rows that the model was not trained on.
        predicted: int [n], the model's classes of them.
        target_predicted: int [m], its classes of the rows without labels.
        classes: number of classes.
        seed: of bootstrap and permutations.
        resamples: of the bootstrap, which redraws both sets.
        permutations: of the test.

    Returns:
        `LabelShift` with percentile intervals. Shares solve Σ_y P(predicted, y) w_y = Q(predicted), are cut at zero and
        scaled to sum to one. The test is χ² of predicted classes against set, with its permutation distribution.

    Raises:
        ValueError: an empty set, different lengths or a class out of range.

    Source: Lipton, Wang, Smola, "Detecting and correcting for label shift with black box predictors", ICML 2018.
    """
    y, f, g = _checked(labels, predicted, target_predicted, classes)
    joint = np.bincount(f * classes + y, minlength=classes**2).reshape(classes, classes)
    seen = np.bincount(g, minlength=classes)
    rng = np.random.Generator(stream(seed, "labels"))
    draws = np.stack([_shares(*_redrawn(joint, seen, rng)) for _ in range(resamples)])
    source = joint.sum(axis=0) / joint.sum()
    target = _shares(joint, seen)
    # quantiles of what is redrawn only: a class that a draw lacks says nothing in it
    low, high = _quantiles(draws)
    smallest = _smallest_singular(joint)
    source[source == 0] = np.nan
    p_value = homogeneity(joint.sum(axis=1), seen, rng, permutations)
    return LabelShift(
        source, target, low, high, target / source, p_value, smallest, smallest < SINGULAR, len(y), len(g)
    )


def homogeneity(first: Ints, second: Ints, rng: np.random.Generator, permutations: int = 2000) -> float:
    """p-value of χ² that two sets of counts int [c] have the same shares, by permutation: exact at any count.

    Permuting which set a row belongs to draws the first set's counts from a multivariate hypergeometric distribution.
    """
    pooled = first + second
    kept = pooled > 0
    expected = pooled[kept] * (first.sum() / pooled.sum())
    drawn = rng.multivariate_hypergeometric(pooled[kept], int(first.sum()), size=permutations)
    scale = expected * (second.sum() / pooled.sum())
    observed = float(((first[kept] - expected) ** 2 / scale).sum())
    larger = int((((drawn - expected) ** 2 / scale).sum(axis=1) >= observed * (1 - 1e-12)).sum())
    return (1 + larger) / (1 + permutations)


def em_shares(source: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Class shares that make the target's probabilities most likely, by expectation maximisation.

    Args:
        source: float [c], shares of the classes that the probabilities were calibrated on, positive where used.
        probabilities: float [m, c], calibrated class probabilities of the target's rows; they must be calibrated.

    Returns:
        float64 [c], sums to one.

    Raises:
        ValueError: no rows or different numbers of classes.

    Source: Saerens, Latinne, Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities",
    Neural Computation 2002, equations (2.9).
    """
    prior, given = np.asarray(source, np.float64), np.asarray(probabilities, np.float64)
    if given.ndim != 2 or not len(given) or given.shape[1] != len(prior):
        raise ValueError("probabilities of at least one row are needed, one for every class")
    ratio = np.divide(given, prior, out=np.zeros_like(given), where=prior > 0)
    shares = prior / prior.sum()
    for _ in range(_EM_STEPS):
        joint = ratio * shares
        after = (joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)).mean(axis=0)
        if np.abs(after - shares).max() < _EM_END:
            return np.asarray(after)
        shares = after
    return np.asarray(shares)


def _shares(joint: Ints, seen: Ints) -> Floats:
    """Target shares float64 [c] from counts [predicted, true] and counts of predictions; NaN where no row is true."""
    present = joint.sum(axis=0) > 0
    given = joint[:, present] / joint[:, present].sum(axis=0)
    solved = np.linalg.lstsq(given, seen / seen.sum(), rcond=None)[0]
    positive = np.maximum(solved, 0)
    found = np.full(len(joint), np.nan)
    found[present] = positive / positive.sum() if positive.sum() > 0 else 1 / present.sum()
    return found


def _redrawn(joint: Ints, seen: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    n, m = int(joint.sum()), int(seen.sum())
    return rng.multinomial(n, joint.ravel() / n).reshape(joint.shape), rng.multinomial(m, seen / m)


def _quantiles(draws: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    bounds = np.full((2, draws.shape[1]), np.nan)
    for column in np.flatnonzero(np.isfinite(draws).any(axis=0)):
        bounds[:, column] = np.nanquantile(draws[:, column], [(1 - level) / 2, (1 + level) / 2])
    return bounds[0], bounds[1]


def _smallest_singular(joint: Ints) -> float:
    present = joint.sum(axis=0) > 0
    given = joint[:, present] / joint[:, present].sum(axis=0)
    return float(np.linalg.svd(given, compute_uv=False).min())


def _checked(
    labels: ArrayLike, predicted: ArrayLike, target: ArrayLike, classes: int
) -> tuple[Ints, Ints, NDArray[np.int64]]:
    y, f, g = (np.asarray(values, np.int64) for values in (labels, predicted, target))
    if y.ndim != 1 or y.shape != f.shape or g.ndim != 1 or not len(y) or not len(g):
        raise ValueError("classes of at least one row of each set are needed, of one length")
    if any(values.min() < 0 or values.max() >= classes for values in (y, f, g)):
        raise ValueError("a class is out of range")
    return y, f, g
