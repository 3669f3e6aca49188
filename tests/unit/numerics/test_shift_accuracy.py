import numpy as np
import pytest
from scipy import stats

from app.numerics.shift.accuracy import (
    atc,
    back_test,
    difference_of_confidences,
    max_confidence,
    negative_entropy,
    threshold,
)


def drawn(n, seed, hard=0.0):
    """Confidences that are the probability of being right; `hard` shifts them down."""
    rng = np.random.default_rng(seed)
    sure = 1 / (1 + np.exp(-(rng.normal(1.5 - hard, 1.2, n))))
    return sure, rng.random(n) < sure


def test_scores_are_those_of_the_paper():
    p = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    assert max_confidence(p) == pytest.approx([0.7, 1.0])
    assert negative_entropy(p) == pytest.approx(-stats.entropy(p, axis=1))


@pytest.mark.parametrize("wrong", [0, 3, 10])
def test_as_many_source_rows_reach_the_threshold_as_are_right(wrong):
    rng = np.random.default_rng(0)
    sure = rng.permutation(np.linspace(0.1, 1, 10))
    right = np.ones(10, bool)
    right[:wrong] = False
    assert (sure >= threshold(sure, right)).sum() == 10 - wrong


def test_estimate_is_the_share_above_the_threshold():
    sure, right = drawn(300, 1)
    target, _ = drawn(200, 2, hard=1.0)
    found = atc(sure, right, target, seed=0, resamples=50)
    # written out: the (k + 1)-th smallest score of the source, k of which are wrong
    assert found.threshold == np.sort(sure)[(~right).sum()]
    assert found.estimate.value == (target >= found.threshold).mean()
    assert (found.estimate.n, found.source.n) == (200, 300)
    assert found.source.value == right.mean()


@pytest.mark.parametrize(
    ("rule", "hard", "near"),
    [(atc, 0.0, 0.03), (atc, 0.7, 0.12), *((difference_of_confidences, hard, 0.04) for hard in (0.0, 1.0, 2.0))],
)
def test_both_follow_a_shift_of_confidence(rule, hard, near):
    sure, right = drawn(4000, 3)
    target, truth = drawn(4000, 4, hard)
    assert rule(sure, right, target, seed=0, resamples=30).estimate.value == pytest.approx(truth.mean(), abs=near)


def test_difference_of_confidences_is_arithmetic():
    found = difference_of_confidences([0.9, 0.7], [True, False], [0.5, 0.7], seed=0, resamples=10)
    assert found.estimate.value == pytest.approx(0.5 - (0.8 - 0.6))
    assert np.isnan(found.threshold)


def test_intervals_hold_the_estimate_without_noise_as_often_as_they_say():
    whole, right = drawn(200_000, 9)
    other, _ = drawn(200_000, 10, 0.7)
    truth = (other >= threshold(whole, right)).mean()
    held = 0
    for seed in range(120):
        sure, outcome = drawn(250, 100 + seed)
        target, _ = drawn(250, 1000 + seed, 0.7)
        _, low, high, _ = atc(sure, outcome, target, seed=seed, resamples=150).estimate
        held += low <= truth <= high
    assert 0.88 <= held / 120 <= 0.99


def test_back_test_compares_with_the_truth_part_by_part():
    sure, right = drawn(600, 5)
    groups = np.arange(600) % 4
    groups[:5] = -1
    groups[5:8] = 9
    found = back_test(sure, right, groups)
    assert [part.name for part in found.parts] == [0, 1, 2, 3]
    part = found.parts[2]
    held = groups == 2
    assert (part.n, part.actual) == (held.sum(), right[held].mean())
    assert part.estimated == atc(sure[~held], right[~held], sure[held], seed=0, resamples=1).estimate.value
    errors = [abs(part.estimated - part.actual) for part in found.parts]
    assert (found.mean_absolute_error, found.worst) == (pytest.approx(np.mean(errors)), max(errors))
    assert found.mean_absolute_error < 4 * found.by_chance


def test_back_test_beats_the_plain_accuracy_where_confidence_knows_and_not_where_it_does_not():
    easy, hard = drawn(800, 6), drawn(800, 7, 2.0)
    sure, right = (np.concatenate([a, b]) for a, b in zip(easy, hard, strict=True))
    groups = np.repeat([0, 1], 800)
    knows = back_test(sure, right, groups, "doc")
    assert knows.mean_absolute_error < 0.3 * knows.plain_error
    blind = back_test(np.random.default_rng(0).random(1600), right, groups)
    assert blind.mean_absolute_error > 0.9 * blind.plain_error


def test_chance_is_what_exact_estimates_would_still_be_off():
    rng = np.random.default_rng(8)
    sure = np.full(2000, 0.8)
    errors = [back_test(sure, rng.random(2000) < 0.8, np.arange(2000) % 10) for _ in range(40)]
    assert np.mean([found.plain_error for found in errors]) == pytest.approx(errors[0].by_chance, rel=0.15)


def test_without_parts_nothing_is_claimed():
    found = back_test([0.5] * 30, [True] * 30, [0] * 30)
    assert found.parts == []
    assert np.isnan(found.mean_absolute_error)


@pytest.mark.parametrize(
    ("source", "correct", "target"), [([], [], [0.5]), ([0.5], [True, False], [0.5]), ([0.5], [True], [np.nan])]
)
def test_what_is_missing_is_said(source, correct, target):
    with pytest.raises(ValueError, match=r"row|missing"):
        atc(source, correct, target, seed=0)
