"""What a fall of accuracy is made of, and what kind of shift the images show."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.numerics.intervals import newcombe_difference_interval, wilson_interval
from app.numerics.shift.estimates import Bounded, Floats, Ints, percentile_interval
from app.numerics.shift.labels import homogeneity
from app.numerics.shift.mmd import mmd_test, pooled_p
from app.numerics.shift.multiplicity import holm
from app.numerics.streams import stream

Kind = Literal["none", "label", "covariate", "both"]


class Gap(NamedTuple):
    """Target accuracy less source accuracy, and its two parts; they add up."""

    source: Bounded
    target: Bounded
    total: Bounded
    label: Bounded
    """What other shares of the classes explain, each class as hard as it was."""
    within: Bounded
    """The rest: classes became harder or easier."""
    per_class: Floats
    """float64 [c]: each class's part of `within`; NaN where a class is missing in one of the sets."""
    left_out: int
    """Target rows whose class no source row has: they are in no figure here."""


class WithinClass(NamedTuple):
    """Whether a class's images changed."""

    class_index: int
    n_source: int
    n_target: int
    statistic: float
    p_value: float
    holm: float


class Evidence(NamedTuple):
    """Which kind of shift the sets show at a level."""

    kind: Kind
    """`label`: classes' shares moved and images within classes are not seen to have changed; `covariate`: these
    changed, with the shares not seen to have moved; `both`; `none`: neither is seen."""
    label_p: float
    images_p: float
    """That no class's images changed, of all classes together."""
    classes: list[WithinClass]
    untested: list[int]
    """Classes with too few rows in one of the sets."""


def gap(
    labels: ArrayLike,
    correct: ArrayLike,
    target_labels: ArrayLike,
    target_correct: ArrayLike,
    classes: int,
    *,
    seed: int,
    resamples: int = 1000,
) -> Gap:
    """Split the difference of two accuracies into what the classes' shares explain and the rest.

    With shares p and accuracies a of the source and q, b of the target, over classes c: Σ q b − Σ p a =
    Σ (q − p) a (label shift) + Σ q (b − a) (within classes).

    Args:
        labels, correct: int [n] in [0, classes) and bool [n], of the source.
        target_labels, target_correct: int [m] and bool [m].
        classes: number of classes.
        seed: of the bootstrap, which redraws both sets.
        resamples: of the bootstrap.

    Returns:
        `Gap`; the parts have percentile intervals.

    Raises:
        ValueError: different lengths, a class out of range, or no target row whose class the source has.

    Source: Kitagawa, "Components of a difference between two rates", JASA 1955, with the source as reference; Oaxaca
    1973 and Blinder 1973 for means.
    """
    one, other = _counts(labels, correct, classes), _counts(target_labels, target_correct, classes)
    known = one.sum(axis=1) > 0
    left_out, other = int(other[~known].sum()), np.where(known[:, None], other, 0)
    if not other.sum() or not one.sum():
        raise ValueError("no target row has a class that the source has")
    rng = np.random.Generator(stream(seed, "gap"))
    draws = np.array([_parts(_redraw(one, rng), _redraw(other, rng)) for _ in range(resamples)]).reshape(-1, 2)
    label, within = _parts(one, other)
    n = int(other.sum())
    return Gap(
        *_accuracies(one, other),
        percentile_interval(label, draws[:, 0], n),
        percentile_interval(within, draws[:, 1], n),
        _within(one, other),
        left_out,
    )


def evidence(
    embeddings: NDArray[np.float32],
    labels: ArrayLike,
    target_embeddings: NDArray[np.float32],
    target_labels: ArrayLike,
    classes: int,
    *,
    seed: int,
    permutations: int = 1000,
    least: int = 10,
    most: int = 500,
    level: float = 0.05,
) -> Evidence:
    """Say whether classes' shares moved, and whether images changed within classes: in all together, and in each.

    All classes together see a change that is too small for any one of them; single classes (with Holm over them) a
    change of one among many. The two share the level.

    Args:
        embeddings, labels: float [n, d], int [n] of the source.
        target_embeddings, target_labels: float [m, d], int [m]; true labels, or the model's where there are none, in
            which case a class's rows are what the model takes for it.
        classes: number of classes.
        seed: of permutations and draws.
        permutations: of each test.
        least: rows that a class needs in each set.
        most: rows of a class and set that are compared.
        level: of the two families (shares; classes).

    Returns:
        `Evidence`.

    Raises:
        ValueError: as `mmd_test`, or a class out of range.

    Source: the two kinds as in Moreno-Torres et al., "A unifying view on dataset shift", Pattern Recognition 2012; MMD
    as in `mmd_test`.
    """
    y, z = np.asarray(labels, np.int64), np.asarray(target_labels, np.int64)
    first, second = np.bincount(y, minlength=classes), np.bincount(z, minlength=classes)
    label_p = homogeneity(first, second, np.random.Generator(stream(seed, "shares")))
    tested = np.flatnonzero((first >= least) & (second >= least)).tolist()
    found = [
        (c, mmd_test(embeddings[y == c], target_embeddings[z == c], permutations, seed=seed + c, most=most))
        for c in tested
    ]
    adjusted = holm([result.p_value for _, result in found]).tolist()
    rows = [
        WithinClass(c, int(first[c]), int(second[c]), result.statistic, result.p_value, p)
        for (c, result), p in zip(found, adjusted, strict=True)
    ]
    untested = np.setdiff1d(np.flatnonzero(first + second), tested).tolist()
    images_p = pooled_p([result for _, result in found])
    within = 2 * min([images_p, *(row.holm for row in rows)]) <= level
    return Evidence(_kind(label_p <= level, within), label_p, images_p, rows, untested)


def harder_p(
    labels: ArrayLike, correct: ArrayLike, target_labels: ArrayLike, target_correct: ArrayLike, classes: int
) -> float | None:
    """Test that within classes the source and the target are equally often right; arguments as of `gap`.

    Returns:
        The two-sided p-value; none where no class has both sets and both outcomes.

    Raises:
        ValueError: as `gap`.

    Source: Cochran 1954; Mantel and Haenszel, "Statistical aspects of the analysis of data from retrospective studies
    of disease", JNCI 1959, without correction for continuity.
    """
    one, other = _counts(labels, correct, classes), _counts(target_labels, target_correct, classes)
    n, m = one.sum(axis=1).astype(float), other.sum(axis=1).astype(float)
    right, total = (one[:, 1] + other[:, 1]).astype(float), np.maximum(n + m, 2)
    variance = float((n * m * right * (n + m - right) / (total**2 * (total - 1))).sum())
    if not variance:
        return None
    return math.erfc(abs(float((one[:, 1] - n * right / total).sum())) / math.sqrt(2 * variance))


def _kind(label: bool, within: bool) -> Kind:
    if label and within:
        return "both"
    if label or within:
        return "label" if label else "covariate"
    return "none"


def _counts(labels: ArrayLike, correct: ArrayLike, classes: int) -> Ints:
    """Rows by class that are wrong and right: int64 [c, 2]."""
    y, right = np.asarray(labels, np.int64), np.asarray(correct, bool)
    if y.ndim != 1 or y.shape != right.shape or (len(y) and (y.min() < 0 or y.max() >= classes)):
        raise ValueError("labels within the classes and outcomes of one length are needed")
    return np.bincount(y * 2 + right, minlength=2 * classes).reshape(classes, 2)


def _redraw(counts: Ints, rng: np.random.Generator) -> Ints:
    return rng.multinomial(int(counts.sum()), counts.ravel() / counts.sum()).reshape(counts.shape)


def _accuracies(one: Ints, other: Ints) -> tuple[Bounded, Bounded, Bounded]:
    """Of source and target with Wilson's intervals, and the difference with Newcombe's."""
    (k, n), (j, m) = ((int(counts[:, 1].sum()), int(counts.sum())) for counts in (one, other))
    ends = wilson_interval(k, n), wilson_interval(j, m), newcombe_difference_interval(j, m, k, n)
    values = (k / n, n), (j / m, m), (j / m - k / n, m)
    first, second, third = (
        Bounded(v, float(low), float(high), of) for (v, of), (low, high) in zip(values, ends, strict=True)
    )
    return first, second, third


def _parts(one: Ints, other: Ints) -> tuple[float, float]:
    """What the classes' shares explain, and the rest; a class that a draw lost is as hard as the average."""
    size, target = one.sum(axis=1), other.sum(axis=1)
    source, here = float(one[:, 1].sum() / one.sum()), float(other[:, 1].sum() / other.sum())
    hard = np.where(size > 0, one[:, 1] / np.maximum(size, 1), source)
    reweighted = float((target / target.sum() * hard).sum())
    return reweighted - source, here - reweighted


def _within(one: Ints, other: Ints) -> Floats:
    size, target = one.sum(axis=1), other.sum(axis=1)
    change = other[:, 1] / np.maximum(target, 1) - one[:, 1] / np.maximum(size, 1)
    return np.where((size > 0) & (target > 0), target / target.sum() * change, np.nan)
