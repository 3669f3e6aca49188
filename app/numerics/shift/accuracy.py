"""Accuracy on images without labels, estimated from how sure the model is of them, and how far to trust that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from app.numerics.shift.estimates import Bounded, Floats, Ints, percentile_interval
from app.numerics.streams import stream

Method = Literal["atc", "doc"]
Rule = Callable[[Floats, NDArray[np.bool_], Floats], float]

LEAST = 10
"""Rows of a part below which its accuracy says too little to be compared."""


class Accuracy(NamedTuple):
    """An accuracy without labels."""

    estimate: Bounded
    source: Bounded
    """Accuracy on the rows with labels that it rests on."""
    threshold: float
    """Of average thresholded confidence; NaN for differences of confidences."""


class Part(NamedTuple):
    """One held-out part of the rows with labels."""

    name: int
    n: int
    estimated: float
    actual: float


class BackTest(NamedTuple):
    """How well an estimate of accuracy did where the truth is known."""

    parts: list[Part]
    mean_absolute_error: float
    """Mean over parts of |estimated − actual|; NaN without parts."""
    worst: float
    by_chance: float
    """What the mean would be if the estimates were exact and only the drawing of each part's rows differed."""
    plain_error: float
    """What the mean would be if every part were given the accuracy of the other rows: what the estimate must beat."""


def max_confidence(probabilities: ArrayLike) -> Floats:
    """Probability of the predicted class: float [n, c] → float64 [n] in [0, 1]."""
    found: Floats = np.asarray(probabilities, np.float64).max(axis=1)
    return found


def negative_entropy(probabilities: ArrayLike) -> Floats:
    """Σ p log p: float [n, c] → float64 [n] in [−log c, 0], 0 = sure. The paper's better score of the two."""
    found: Floats = -special.entr(np.asarray(probabilities, np.float64)).sum(axis=1)
    return found


def atc(source: ArrayLike, correct: ArrayLike, target: ArrayLike, *, seed: int, resamples: int = 1000) -> Accuracy:
    """Average thresholded confidence: the share of target rows that score above a threshold.

    The threshold is where the share of source rows above it equals their accuracy.

    Args:
        source: float [n], how sure the model is of rows with labels that it was not trained on; large = sure.
        correct: bool [n], whether it is right on them.
        target: float [m], the same score of the rows without labels.
        seed: of the bootstrap, which redraws both sets and finds the threshold anew each time.
        resamples: of the bootstrap.

    Returns:
        `Accuracy`, percentile intervals.

    Raises:
        ValueError: an empty set, different lengths, or a score that is NaN.

    Source: Garg, Balakrishnan, Lipton, Neyshabur, Sedghi, "Leveraging unlabeled data to predict out-of-distribution
    performance", ICLR 2022, equations (1) and (2).
    """
    sure, right, unknown = _checked(source, correct, target)
    return _with_interval(sure, right, unknown, _atc, threshold(sure, right), seed, resamples)


def difference_of_confidences(
    source: ArrayLike, correct: ArrayLike, target: ArrayLike, *, seed: int, resamples: int = 1000
) -> Accuracy:
    """Source accuracy less how much the mean confidence falls, kept in [0, 1].

    Args:
        source, correct, target, seed, resamples: as for `atc`; scores are probabilities of the predicted class.

    Returns:
        `Accuracy` without a threshold.

    Raises:
        ValueError: as `atc`.

    Source: Guillory, Shankar, Ebrahimi, Darrell, Schmidt, "Predicting with confidence on unseen distributions", ICCV
    2021, section 3.
    """
    sure, right, unknown = _checked(source, correct, target)
    return _with_interval(sure, right, unknown, _doc, float("nan"), seed, resamples)


def threshold(sure: Floats, right: NDArray[np.bool_]) -> float:
    """The score that as many source rows reach as are right; infinity where none is."""
    wrong = int((~right).sum())
    return float(np.partition(sure, wrong)[wrong]) if wrong < len(sure) else float("inf")


def back_test(source: ArrayLike, correct: ArrayLike, groups: ArrayLike, method: Method = "atc") -> BackTest:
    """Estimate the accuracy of each group from the other groups' rows and compare it with the truth.

    Args:
        source, correct: as for `atc`.
        groups: int [n], which part a row belongs to, −1 none. Random parts show what chance does; subgroups that the
            model is better or worse on (slices, classes, capture conditions) show what a shift does.
        method: what is tested.

    Returns:
        `BackTest` over the groups of at least `LEAST` rows that have as many others beside them.

    Raises:
        ValueError: as `atc`, or other lengths.
    """
    sure, right, _ = _checked(source, correct, source)
    group = np.asarray(groups, np.int64)
    if group.shape != sure.shape:
        raise ValueError("a group for every row is needed")
    rule = _atc if method == "atc" else _doc
    parts, plain = [], []
    for name in np.unique(group[group >= 0]).tolist():
        held = group == name
        if min(held.sum(), (~held).sum()) < LEAST:
            continue
        actual = float(right[held].mean())
        parts.append(Part(name, int(held.sum()), rule(sure[~held], right[~held], sure[held]), actual))
        plain.append(abs(float(right[~held].mean()) - actual))
    return _summed(parts, plain)


def _summed(parts: list[Part], plain: list[float]) -> BackTest:
    if not parts:
        return BackTest([], *[float("nan")] * 4)
    errors = np.array([abs(part.estimated - part.actual) for part in parts])
    spread = [(2 / np.pi * part.actual * (1 - part.actual) / part.n) ** 0.5 for part in parts]
    return BackTest(parts, float(errors.mean()), float(errors.max()), float(np.mean(spread)), float(np.mean(plain)))


def _atc(sure: Floats, right: NDArray[np.bool_], unknown: Floats) -> float:
    return float((unknown >= threshold(sure, right)).mean())


def _doc(sure: Floats, right: NDArray[np.bool_], unknown: Floats) -> float:
    return float(np.clip(right.mean() - sure.mean() + unknown.mean(), 0, 1))


def _with_interval(
    sure: Floats, right: NDArray[np.bool_], unknown: Floats, rule: Rule, at: float, seed: int, resamples: int
) -> Accuracy:
    rng = np.random.Generator(stream(seed, "accuracy"))
    draws = np.empty((resamples, 2))
    for place in range(resamples):
        one, other = _redrawn(len(sure), rng), _redrawn(len(unknown), rng)
        draws[place] = rule(sure[one], right[one], unknown[other]), right[one].mean()
    estimate = percentile_interval(rule(sure, right, unknown), draws[:, 0], len(unknown))
    return Accuracy(estimate, percentile_interval(float(right.mean()), draws[:, 1], len(sure)), at)


def _redrawn(n: int, rng: np.random.Generator) -> Ints:
    return rng.integers(n, size=n)


def _checked(source: ArrayLike, correct: ArrayLike, target: ArrayLike) -> tuple[Floats, NDArray[np.bool_], Floats]:
    sure, unknown = np.asarray(source, np.float64), np.asarray(target, np.float64)
    right = np.asarray(correct, bool)
    if sure.ndim != 1 or unknown.ndim != 1 or right.shape != sure.shape or not len(sure) or not len(unknown):
        raise ValueError("scores and outcomes of at least one row of each set are needed, of one length")
    if np.isnan(sure).any() or np.isnan(unknown).any():
        raise ValueError("a score is missing")
    return sure, right, unknown
