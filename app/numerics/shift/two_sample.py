"""A classifier that is asked which of two sets a row comes from: if it can tell, the sets differ."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from app.numerics.intervals import newcombe_difference_interval
from app.numerics.pca import principal_components, project
from app.numerics.shift.columns import fit_columns
from app.numerics.shift.estimates import Floats, Ints
from app.numerics.streams import stream

Rows = NDArray[np.float32]

MOST = 2000
"""Rows of each set that the classifier learns from at most."""
COMPONENTS = 64
"""Dimensions that the classifier sees at most, and at most a tenth of the number of rows."""
FOLDS = 5
PENALTY = 0.01
"""Times the number of rows."""


class ClassifierTest(NamedTuple):
    """What `classifier_test` found."""

    accuracy: float
    """Mean of the two sets' shares of held-out rows that are told apart; ½ = chance."""
    low: float
    high: float
    p_value: float
    """One-sided, from permuted labels."""
    n_x: int
    n_y: int
    permutations: int
    folds: int
    x_scores: Floats
    """Of every row of the first set: its held-out log-odds of belonging to the second, less those of a guess."""
    y_scores: Floats
    """Of every row of the second set: the largest are the most typical of it."""
    auc: float
    """Probability that a row of the second set scores above one of the first; what the p-value is of."""


def classifier_test(
    x: Rows, y: Rows, *, seed: int, permutations: int = 200, folds: int = FOLDS, most: int = MOST
) -> ClassifierTest:
    """Test that two sets of vectors have one distribution, by a cross-fitted logistic regression.

    Held-out answers of one cross-validation depend on each other, so that a binomial test of them rejects too often.
    The p-value is therefore that of a permutation test: the folds are dealt without a look at the labels, and every
    permuted labelling is fitted and judged on the same folds, all of them at once as columns of one fit. What is
    compared is the area under the curve of held-out scores: accuracy takes so few values that ties would cost power.

    Args:
        x: float [n, d], n >= folds.
        y: float [m, d], m >= folds.
        seed: of folds, permutations and of what is drawn where a set has more than `most` rows.
        permutations: at least 1.
        folds: at least 2.
        most: rows of each set to learn from at most; the others get the mean score of the folds' classifiers.

    Returns:
        `ClassifierTest`. Where there are more dimensions than the classifier sees, it gets the pooled rows' principal
        components, which know nothing of the labels. The interval is Newcombe's, given the fitted classifiers.

    Raises:
        ValueError: fewer rows than folds, different dimensions, NaN or infinity, or counts below the least.

    Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; permutation under
    cross-validation: Ojala and Garriga, "Permutation tests for studying classifier performance", JMLR 2010, test 1.
    """
    _check(x, y, permutations, folds)
    rng = np.random.Generator(stream(seed, "classifier"))
    label = np.repeat([0, 1], [len(x), len(y)])
    chosen = np.sort(np.concatenate([_some(np.flatnonzero(label == side), most, rng) for side in (0, 1)]))
    features = _features(np.concatenate([x, y]))
    labels = _labellings(label[chosen], permutations, rng)
    fold = np.full(len(label), -1)
    fold[chosen] = rng.permutation(np.arange(len(chosen)) % folds)
    scores, observed = _held_out(features, fold, chosen, labels, folds)
    counts = [(scores[labels[:, 0] == side] > 0).sum(axis=0)[0] for side in (0, 1)]
    n, m = (int((labels[:, 0] == side).sum()) for side in (0, 1))
    areas, accuracy = _areas(scores, labels), float(_balanced(scores[:, :1], labels[:, :1])[0])
    low, high = newcombe_difference_interval(counts[1], m, counts[0], n)
    larger = int((areas[1:] >= areas[0] - 1e-9).sum())
    return ClassifierTest(
        accuracy, (1 + float(low)) / 2, (1 + float(high)) / 2, (1 + larger) / (1 + permutations), n, m,
        permutations, folds, observed[: len(x)], observed[len(x) :], float(areas[0]),
    )  # fmt: skip


def _check(x: Rows, y: Rows, permutations: int, folds: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or folds < 2 or permutations < 1:
        raise ValueError("two sets of vectors of one dimension are needed, at least two folds, and permutations")
    if min(len(x), len(y)) < folds:
        raise ValueError("each set needs at least as many rows as there are folds")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("vectors must be finite")


def _some(places: Ints, most: int, rng: np.random.Generator) -> Ints:
    return places if len(places) <= most else rng.choice(places, most, replace=False)


def _features(rows: Rows) -> Floats:
    """Pooled rows with deviation one and a constant, after principal components where there are many dimensions."""
    found = torch.from_numpy(np.ascontiguousarray(rows, np.float32))
    count = min(COMPONENTS, max(len(rows) // 10, 1))
    if rows.shape[1] > count:
        found = project(principal_components(found, count), found)
    values = found.numpy().astype(np.float64)
    values -= values.mean(axis=0)
    deviation = values.std(axis=0)
    values /= np.where(deviation > 0, deviation, 1.0)
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)


def _labellings(label: Ints, permutations: int, rng: np.random.Generator) -> Ints:
    """int64 [n, 1 + permutations]: the labels, then permutations of them."""
    shuffled = rng.permuted(np.tile(label, (permutations, 1)), axis=1)
    return np.concatenate([label[:, None], shuffled.T], axis=1)


def _held_out(features: Floats, fold: Ints, chosen: Ints, labels: Ints, folds: int) -> tuple[Floats, Floats]:
    """Held-out scores of the chosen rows under every labelling, and of all rows under the first."""
    scores, observed = np.zeros(labels.shape), np.zeros(len(features))
    of = fold[chosen]
    for held in range(folds):
        learn = of != held
        share = labels[learn].mean(axis=0)
        weights = fit_columns(features[chosen[learn]], labels[learn], PENALTY * learn.sum())
        guess = np.log(np.maximum(share, 1e-9) / np.maximum(1 - share, 1e-9))
        scores[~learn] = features[chosen[~learn]] @ weights - guess
        observed[fold == -1] += (features[fold == -1] @ weights[:, 0] - guess[0]) / folds
    observed[chosen] = scores[:, 0]
    return scores, observed


def _areas(scores: Floats, labels: Ints) -> Floats:
    """Area under the curve of every column, ties counting half (Mann and Whitney 1947)."""
    n = labels.sum(axis=0)
    ranks = (stats.rankdata(scores, axis=0) * labels).sum(axis=0)
    found: Floats = (ranks - n * (n + 1) / 2) / (n * (len(labels) - n))
    return found


def _balanced(scores: Floats, labels: Ints) -> Floats:
    """Balanced accuracy of every column; a score of zero is half right."""
    right = np.where(scores == 0, 0.5, (scores > 0) == labels)
    n = labels.sum(axis=0)
    second = (right * labels).sum(axis=0) / n
    first = (right * (1 - labels)).sum(axis=0) / (len(labels) - n)
    found: Floats = (first + second) / 2
    return found
