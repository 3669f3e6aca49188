import numpy as np
import pytest
from scipy import stats

from app.numerics.causes import (
    intrinsic_ambiguity,
    label_noise,
    rare_in_training,
    shift_from_training,
    spurious_correlation,
)
from app.numerics.intervals import newcombe_difference_interval, wilson_interval

N, K = 400, 20


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def members():
    return np.arange(N) < 60


def neighbours(rng, shares):
    """Labels drawn row by row from the given distributions over classes."""
    return np.array([rng.choice(len(p), size=K, p=p) for p in shares])


def plain(rng, members):
    return neighbours(rng, [(0.94, 0.03, 0.03)] * len(members))


def test_rare_and_common_slices(members):
    rare = rare_in_training(np.arange(1000) < 10, members)
    assert rare.holds
    assert (rare.value, rare.reference, rare.n) == (0.01, 0.15, 1000)
    assert (rare.low, rare.high) == pytest.approx(tuple(map(float, wilson_interval(10, 1000))))
    assert not rare_in_training(np.arange(1000) < 100, members).holds
    assert not rare_in_training(np.arange(30) < 0, members).holds
    assert not rare_in_training(np.zeros(0, bool), members).holds


def test_context_of_another_class(rng, members):
    labels = neighbours(rng, [(0.25, 0.7, 0.05) if m else (0.9, 0.05, 0.05) for m in members])
    found = spurious_correlation(labels, members, 1)
    taken = (labels == 1).mean(1) > 0.5
    assert found.holds
    assert found.value == pytest.approx(taken[members].mean())
    low, high = newcombe_difference_interval(taken[members].sum(), 60, taken[~members].sum(), 340)
    assert (found.low, found.high) == pytest.approx((float(low), float(high)))
    assert not spurious_correlation(labels, members, 2).holds
    assert not spurious_correlation(plain(rng, members), members, 1).holds


def test_shift_is_the_area_under_the_curve(rng, members):
    distances = rng.normal(size=N) + 1.5 * members
    found = shift_from_training(distances, members)
    pairs = distances[members][:, None] > distances[~members][None]
    assert found.holds
    assert found.value == pytest.approx(pairs.mean())
    assert found.low < stats.norm.cdf(1.5 / np.sqrt(2)) < found.high
    assert not shift_from_training(rng.normal(size=N), members).holds


def test_interval_of_the_area_covers(rng):
    truth, hits = stats.norm.cdf(0.8 / np.sqrt(2)), 0
    inside = np.arange(150) < 50
    for _ in range(300):
        found = shift_from_training(rng.normal(size=150) + 0.8 * inside, inside)
        hits += found.low <= truth <= found.high
    assert hits / 300 == pytest.approx(0.95, abs=0.035)


def test_wrong_labels_have_two_witnesses(rng, members):
    mislabelled = members & (np.arange(N) % 2 == 0)
    labels = neighbours(rng, [(0.0, 1.0, 0.0) if m else (1.0, 0.0, 0.0) for m in mislabelled])
    predictions = np.where(mislabelled, 1, 0)
    sure, unsure = np.full(N, 0.97), np.full(N, 0.6)
    given = np.zeros(N, dtype=np.int64)
    found = label_noise(labels, given, predictions, sure, members)
    assert found.holds
    assert (found.value, found.reference) == (0.5, 0.0)
    assert not label_noise(labels, given, predictions, unsure, members).holds
    assert not label_noise(labels, predictions, predictions, sure, members).holds
    assert not label_noise(plain(rng, members), given, predictions, sure, members).holds


def test_ambiguity_is_the_entropy_of_the_labels_around(rng, members):
    labels = neighbours(rng, [(0.34, 0.33, 0.33) if m else (0.96, 0.02, 0.02) for m in members])
    found = intrinsic_ambiguity(labels, members)
    entropy = [stats.entropy(np.bincount(row)) / np.log(K) for row in labels]
    assert found.value == pytest.approx(np.mean(np.array(entropy)[members]))
    assert found.reference == pytest.approx(np.mean(np.array(entropy)[~members]))
    assert found.low > 0
    wide = neighbours(rng, [(0.1,) * 10 if m else (0.91, *(0.01,) * 9) for m in members])
    assert intrinsic_ambiguity(wide, members).holds
    assert not intrinsic_ambiguity(plain(rng, members), members).holds


def test_constant_entropies_do_not_break_the_test(members):
    mixed = np.where(members[:, None], np.arange(K) % 10, 0)
    found = intrinsic_ambiguity(mixed, members)
    assert found.holds
    assert found.low == found.high == pytest.approx(np.log(10) / np.log(K))


@pytest.mark.parametrize("inside", [0, N])
def test_a_slice_without_rows_or_without_rest_has_no_cause(rng, inside):
    members = np.arange(N) < inside
    labels = plain(rng, members)
    zeros = np.zeros(N, dtype=np.int64)
    found = [
        spurious_correlation(labels, members, 1),
        shift_from_training(rng.normal(size=N), members),
        label_noise(labels, zeros, zeros, np.ones(N), members),
        intrinsic_ambiguity(labels, members),
    ]
    assert all(np.isnan(f.value) and not f.holds and f.n == inside for f in found)
