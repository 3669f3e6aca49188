"""Why a slice fails: five typed causes, each a number on the slice's rows against the rest of its class, with a rule.

All functions take the audited rows of one class (confirm rows, for honest numbers) as numpy arrays, and `members`, bool
[n], True for the rows of the slice. Neighbours come from `neighbours.nearest_neighbours`: among the training rows where
there are any, else among the audited rows, a row itself excluded.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.numerics.intervals import newcombe_difference_interval, wilson_interval

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Kind = Literal["rare in training", "spurious correlation", "shift", "label noise", "ambiguous"]

RARE_SHARE = 0.05
MISTAKEN_SHARE_GAP = 0.1
SHIFT_AREA = 0.7
NOISE_SHARE = 0.2
NOISE_AGREEMENT = 0.8
NOISE_CONFIDENCE = 0.9
AMBIGUOUS_ENTROPY = 0.4
SIGNIFICANT = 0.01


class CauseEvidence(NamedTuple):
    """One cause with what speaks for it."""

    kind: Kind
    value: float
    """The measure on the slice; NaN when it could not be taken."""
    reference: float
    """The same measure on the rest of the class (for "rare in training": the audited prevalence)."""
    low: float
    high: float
    """95 % interval; each function says of what."""
    n: int
    """Rows that `value` was taken on."""
    holds: bool
    """Whether the documented rule is met."""


def rare_in_training(training_members: Bools, members: Bools) -> CauseEvidence:
    """Share of the class's training rows that fall into the slice, by the slice's own scoring function.

    Rule: the upper end of the Wilson interval of that share is below 5 %.

    Args:
        training_members: bool [t], membership of the class's training rows.
        members: bool [n], membership of the audited rows.

    Returns:
        `value` in [0, 1], small = rare; `reference` the audited prevalence; the interval is that of `value`; `n` = t.

    Source: the prevalence argument of Sagawa et al., "Distributionally robust neural networks for group shifts", 2020.
    """
    t, inside = len(training_members), int(np.sum(training_members))
    low, high = (float(bound) for bound in wilson_interval(inside, t))
    value = inside / t if t else float("nan")
    return CauseEvidence("rare in training", value, float(np.mean(members)), low, high, t, t > 0 and high < RARE_SHARE)


def spurious_correlation(neighbour_labels: Ints, members: Bools, mistaken_for: int) -> CauseEvidence:
    """Share of rows whose training neighbours mostly belong to the class that the slice is mistaken for.

    Where context instead of the object decides, rows of the slice lie among training rows of the other class.
    Rule: the share exceeds that of the rest by more than 10 points, at the lower end of Newcombe's interval.

    Args:
        neighbour_labels: int64 [n, k], labels of each row's nearest training rows.
        members: bool [n].
        mistaken_for: the class that the slice's errors are predicted as most often.

    Returns:
        `value`, `reference` in [0, 1], large = spurious; the interval is of their difference; `n` the slice's rows.

    Source: after Geirhos et al., "Shortcut learning in deep neural networks", 2020; the measure is ours.
    """
    taken = (neighbour_labels == mistaken_for).mean(axis=1) > 0.5
    return _share_gap("spurious correlation", taken, members, MISTAKEN_SHARE_GAP)


def shift_from_training(distances: NDArray[np.floating], members: Bools) -> CauseEvidence:
    """How much farther from the training rows the slice lies than the rest of its class.

    `value` is the area under the ROC curve of the distance, the chance that a row of the slice is farther away than a
    row of the rest. Rule: the area is at least .7 and the one-sided Mann-Whitney test has p < .01.

    Args:
        distances: float [n], e.g. mean cosine distance to the k nearest training rows of any class.
        members: bool [n].

    Returns:
        `value` in [0, 1], .5 = no shift; `reference` .5; Hanley and McNeil's interval; `n` the slice's rows.

    Sources: Mann and Whitney 1947; Hanley and McNeil, "The meaning and use of the area under a ROC curve", 1982; kNN
    distance as a measure of shift: Sun et al., "Out-of-distribution detection with deep nearest neighbors", 2022.
    """
    inside, outside = distances[members], distances[~members]
    if len(inside) == 0 or len(outside) == 0:
        return _nothing("shift", 0.5, len(inside))
    test = stats.mannwhitneyu(inside, outside, alternative="greater")
    area = float(test.statistic) / (len(inside) * len(outside))
    half = 1.959964 * _area_error(area, len(inside), len(outside))
    holds = area >= SHIFT_AREA and float(test.pvalue) < SIGNIFICANT
    return CauseEvidence("shift", area, 0.5, max(area - half, 0.0), min(area + half, 1.0), len(inside), holds)


def label_noise(
    neighbour_labels: Ints,
    labels: Ints,
    predictions: Ints,
    confidence: NDArray[np.floating],
    members: Bools,
) -> CauseEvidence:
    """Share of rows whose neighbours and whose confident prediction agree on another label than the given one.

    A row counts when at least 80 % of its neighbours bear one label, the model predicts that label with at least .9,
    and it is not the row's own. Rule: the share is at least 20 % and above that of the rest by Newcombe's interval.

    Args:
        neighbour_labels: int64 [n, k].
        labels, predictions: int64 [n].
        confidence: float [n], probability of the prediction.
        members: bool [n].

    Returns:
        `value`, `reference` in [0, 1], large = noisy; the interval is that of their difference; `n` the slice's rows.

    Source: after Northcutt, Jiang, Chuang, "Confident learning", JAIR 2021, with neighbours as second witness.
    """
    agree = (neighbour_labels == predictions[:, None]).mean(axis=1) >= NOISE_AGREEMENT
    suspect = agree & (predictions != labels) & (confidence >= NOISE_CONFIDENCE)
    found = _share_gap("label noise", suspect, members, 0.0)
    return found._replace(holds=found.holds and found.value >= NOISE_SHARE)


def intrinsic_ambiguity(neighbour_labels: Ints, members: Bools) -> CauseEvidence:
    """Mean entropy of the labels around a row: high where look-alikes bear different labels.

    `value` is the mean over the slice of `- sum p log p / log k` with p the label shares among the k neighbours.
    Rule: the mean is at least .4 and above that of the rest (Welch's one-sided test, p < .01).

    Args:
        neighbour_labels: int64 [n, k], k >= 2.
        members: bool [n].

    Returns:
        `value`, `reference` in [0, 1], large = ambiguous; the interval (Welch) is that of their difference; `n` the
        slice's rows.

    Sources: Shannon 1948; Welch 1947; kNN label disagreement: Wilson, "Asymptotic properties of nearest neighbor
    rules using edited data", 1972.
    """
    entropy = _label_entropy(neighbour_labels)
    inside, outside = entropy[members], entropy[~members]
    if len(inside) < 2 or len(outside) < 2:
        return _nothing("ambiguous", float("nan"), len(inside))
    value, reference = float(inside.mean()), float(outside.mean())
    if np.ptp(inside) == 0 and np.ptp(outside) == 0:
        gap = value - reference
        return CauseEvidence(
            "ambiguous", value, reference, gap, gap, len(inside), gap > 0 and value >= AMBIGUOUS_ENTROPY
        )
    test = stats.ttest_ind(inside, outside, equal_var=False, alternative="greater")
    low, high = stats.ttest_ind(inside, outside, equal_var=False).confidence_interval(0.95)
    holds = value >= AMBIGUOUS_ENTROPY and float(test.pvalue) < SIGNIFICANT
    return CauseEvidence("ambiguous", value, reference, float(low), float(high), len(inside), holds)


def _share_gap(kind: Kind, marked: Bools, members: Bools, gap: float) -> CauseEvidence:
    n, rest = int(members.sum()), int((~members).sum())
    if n == 0 or rest == 0:
        return _nothing(kind, float("nan"), n)
    inside, outside = int(marked[members].sum()), int(marked[~members].sum())
    low, high = (float(bound) for bound in newcombe_difference_interval(inside, n, outside, rest))
    return CauseEvidence(kind, inside / n, outside / rest, low, high, n, low > gap)


def _label_entropy(neighbour_labels: Ints) -> NDArray[np.float64]:
    """Normalised entropy of each row's labels; counts come from comparing every pair, so labels may be any integers."""
    n, k = neighbour_labels.shape
    same = np.zeros((n, k))
    for j in range(k):
        same += neighbour_labels == neighbour_labels[:, j : j + 1]
    return np.asarray(-np.log(same / k).mean(axis=1) / np.log(max(k, 2)))


def _area_error(area: float, n: int, rest: int) -> float:
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (q1 - area**2) + (rest - 1) * (q2 - area**2)
    return float(np.sqrt(max(variance, 0.0) / (n * rest)))


def _nothing(kind: Kind, reference: float, n: int) -> CauseEvidence:
    return CauseEvidence(kind, float("nan"), reference, float("nan"), float("nan"), n, holds=False)
