"""Halving the audited rows into fit and confirm, and folds inside the fit rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


def fit_rows(
    classes: ArrayLike, correct: ArrayLike, generator: np.random.Generator, groups: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """Choose the fit half of the rows, stratified by (class, correct); the other half confirms.

    Rows of one duplicate group stay together. Groups of two and more rows are dealt out first, large ones first
    and back and forth between the halves within their stratum; single rows then fill every stratum up to half.

    Args:
        classes: true class, int [n].
        correct: whether the model was right, bool [n].
        generator: source of all randomness; one seed, one halving.
        groups: duplicate group of each row, int [n]; every row is its own group when None.

    Returns:
        bool [n], True = fit. Without large groups each stratum is halved to within one row, and strata of odd
        size alternate, so the halves differ by at most one row in all. Takes O(n log n).

    Raises:
        ValueError: arrays of different lengths.
    """
    stratum = _strata(classes, correct)
    group = np.arange(len(stratum)) if groups is None else _codes(np.asarray(groups))
    if group.shape != stratum.shape:
        raise ValueError("classes, correct and groups must have one length")
    size = np.bincount(group, minlength=1)
    single = size[group] == 1
    chosen = np.zeros(len(stratum), dtype=bool)
    chosen[~single] = _deal_groups(stratum[~single], group[~single], generator)
    quota = _quota(stratum, generator) - np.bincount(stratum[chosen], minlength=stratum.max(initial=0) + 1)
    singles = np.flatnonzero(single)
    chosen[singles] = rank_within(stratum[singles], generator) < quota[stratum[singles]]
    return chosen


def stratified_folds(strata: ArrayLike, folds: int, generator: np.random.Generator) -> Ints:
    """Fold of each row, with every stratum spread evenly over the folds.

    Args:
        strata: stratum of each row, int [n] (e.g. error or not within one class).
        folds: number of folds, at least 1.
        generator: source of the shuffling.

    Returns:
        int64 [n] in [0, folds). Fold sizes differ by at most one within a stratum; strata continue the deal where
        the last one stopped, so fold sizes differ by at most one in all.
    """
    code = _codes(np.asarray(strata))
    rank = rank_within(code, generator)
    counts = np.bincount(code, minlength=1)
    offset = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray((rank + offset[code]) % folds)


def rank_within(codes: Ints, generator: np.random.Generator) -> Ints:
    """Random rank of each row among the rows of its code: int64 [n], 0 … count - 1, for non-negative int [n] codes."""
    order = np.lexsort((generator.random(len(codes)), codes))
    counts = np.bincount(codes, minlength=1)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - starts[codes[order]]
    return rank


def _quota(stratum: Ints, generator: np.random.Generator) -> Ints:
    counts = np.bincount(stratum, minlength=1)
    quota = counts // 2
    odd = generator.permutation(np.flatnonzero(counts % 2))
    quota[odd[int(generator.integers(2)) :: 2]] += 1
    return np.asarray(quota, dtype=np.int64)


def _deal_groups(stratum: Ints, group: Ints, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Deal groups to the halves as fit, confirm, confirm, fit, … in falling size within the stratum of one row."""
    _, first, compact, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    home = stratum[first]
    order = np.lexsort((generator.random(len(home)), -size, home))
    counts = np.bincount(home, minlength=1)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    position = np.empty(len(home), dtype=np.int64)
    position[order] = np.arange(len(home)) - starts[home[order]]
    flip = generator.random(len(counts)) < 0.5
    fit = ((position + 1) // 2 % 2 == 0) ^ flip[home]
    return np.asarray(fit[compact], dtype=bool)


def _strata(classes: ArrayLike, correct: ArrayLike) -> Ints:
    label, right = np.asarray(classes), np.asarray(correct, dtype=bool)
    if label.ndim != 1 or label.shape != right.shape:
        raise ValueError("classes, correct and groups must have one length")
    return np.asarray(_codes(label) * 2 + right, dtype=np.int64)


def _codes(values: np.ndarray) -> Ints:
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64).reshape(values.shape)
