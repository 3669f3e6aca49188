import time

import numpy as np
import pytest

from app.numerics.split import fit_rows, rank_within, stratified_folds


def sample(n=5000, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, n), rng.random(n) < 0.85


def test_every_stratum_is_halved():
    classes, correct = sample()
    fit = fit_rows(classes, correct, np.random.default_rng(1))
    for c in range(7):
        for right in (True, False):
            rows = (classes == c) & (correct == right)
            assert abs(2 * fit[rows].sum() - rows.sum()) <= 1
    assert abs(2 * fit.sum() - len(fit)) <= 1


def test_one_seed_one_halving():
    classes, correct = sample()
    halves = [fit_rows(classes, correct, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(halves[0], halves[1])
    assert 0.4 < (halves[0] == halves[2]).mean() < 0.6


def test_each_row_is_as_likely_to_fit_as_to_confirm():
    classes, correct = sample(n=40, classes=3)
    groups = np.arange(40) // 3 * np.array([1, 0] * 20)
    share = np.mean([fit_rows(classes, correct, np.random.default_rng(s), groups) for s in range(800)], axis=0)
    assert np.abs(share - 0.5).max() < 0.12


def test_duplicate_groups_stay_whole_and_strata_stay_even():
    classes, correct = sample(20_000)
    rng = np.random.default_rng(2)
    groups = np.where(rng.random(20_000) < 0.3, rng.integers(0, 1500, 20_000), 10_000 + np.arange(20_000))
    fit = fit_rows(classes, correct, np.random.default_rng(3), groups)
    first = np.zeros(groups.max() + 1, bool)
    first[groups] = fit
    assert np.array_equal(first[groups], fit)
    for c in range(7):
        for right in (True, False):
            rows = (classes == c) & (correct == right)
            assert abs(2 * fit[rows].sum() - rows.sum()) <= 1


def test_nothing_but_groups_is_still_close_to_half():
    rng = np.random.default_rng(5)
    classes = np.repeat(rng.integers(0, 5, 2000), 4)
    correct = np.repeat(rng.random(2000) < 0.8, 4)
    fit = fit_rows(classes, correct, rng, np.repeat(np.arange(2000), 4))
    for c in range(5):
        for right in (True, False):
            rows = (classes == c) & (correct == right)
            assert abs(2 * fit[rows].sum() - rows.sum()) <= 8


def test_single_rows_do_not_all_fall_on_one_side():
    fit = fit_rows(np.arange(100), np.ones(100, bool), np.random.default_rng(0))
    assert fit.sum() == 50


def test_group_labels_may_be_any_integers_and_none_may_be_given():
    groups = np.array([10**12, -5, 10**12, 7])
    fit = fit_rows([0, 0, 0, 0], [True] * 4, np.random.default_rng(0), groups)
    assert fit[0] == fit[2]
    assert fit.sum() == 2
    assert fit_rows([], [], np.random.default_rng(0)).shape == (0,)


def test_lengths_must_match():
    with pytest.raises(ValueError, match="one length"):
        fit_rows([0, 1], [True], np.random.default_rng(0))
    with pytest.raises(ValueError, match="one length"):
        fit_rows([0, 1], [True, False], np.random.default_rng(0), [1, 2, 3])


def test_a_million_rows_take_seconds():
    classes, correct = sample(1_000_000, 1000)
    groups = np.arange(1_000_000)
    groups[:300_000] //= 3
    started = time.process_time()
    fit_rows(classes, correct, np.random.default_rng(0), groups)
    assert time.process_time() - started < 8


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_are_even_within_strata_and_in_all(folds):
    strata = np.random.default_rng(0).integers(0, 4, 203)
    fold = stratified_folds(strata, folds, np.random.default_rng(1))
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 1
    for s in range(4):
        assert np.ptp(np.bincount(fold[strata == s], minlength=folds)) <= 1


def test_ranks_are_permutations_within_each_code():
    codes = np.array([2, 0, 2, 2, 0, 5])
    rank = rank_within(codes, np.random.default_rng(0))
    assert sorted(rank[codes == 2]) == [0, 1, 2]
    assert sorted(rank[codes == 0]) == [0, 1]
    assert rank[5] == 0
