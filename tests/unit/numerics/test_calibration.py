import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from app.numerics.calibration import expected_calibration_error, reliability_table
from app.numerics.intervals import wilson_interval


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    confidence = rng.beta(4, 2, 3000)
    return confidence, rng.random(3000) < confidence**1.5


def test_table_agrees_with_scikit_learns_curve(sample):
    confidence, correct = sample
    table = reliability_table(confidence, correct, bins=10)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=10)
    filled = table.n > 0
    assert table.accuracy[filled] == pytest.approx(accuracy)
    assert table.confidence[filled] == pytest.approx(mean)
    assert table.n.sum() == 3000
    low, high = wilson_interval(np.round(table.accuracy[filled] * table.n[filled]), table.n[filled])
    assert table.low[filled] == pytest.approx(low)
    assert table.high[filled] == pytest.approx(high)


def test_edges_belong_to_the_bin_below():
    table = reliability_table([0.0, 0.5, 0.5000001, 1.0], [1, 1, 0, 0], bins=2)
    assert table.n.tolist() == [2, 2]
    assert table.accuracy.tolist() == [1.0, 0.0]


def test_an_empty_bin_says_so():
    table = reliability_table([0.9, 0.95], [1, 0], bins=4)
    assert table.n.tolist() == [0, 0, 0, 2]
    assert np.isnan(table.accuracy[:3]).all()


def test_error_is_the_weighted_mean_gap_of_the_table(sample):
    table = reliability_table(*sample)
    filled = table.n > 0
    gaps = np.abs(table.accuracy - table.confidence)[filled]
    error = expected_calibration_error(*sample, np.random.default_rng(1))
    assert error.value == pytest.approx(np.average(gaps, weights=table.n[filled]))
    assert error.low < error.value < error.high
    assert error.n == 3000


def test_interval_agrees_with_a_bootstrap_of_rows(sample):
    confidence, correct = sample
    rng = np.random.default_rng(2)
    draws = []
    for _ in range(400):
        rows = rng.integers(0, 3000, 3000)
        draws.append(expected_calibration_error(confidence[rows], correct[rows], rng, resamples=1).value)
    error = expected_calibration_error(confidence, correct, np.random.default_rng(3))
    assert (error.low, error.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.006)


def test_calibrated_and_overconfident_models():
    rng = np.random.default_rng(4)
    confidence = rng.random(50_000)
    calibrated = expected_calibration_error(confidence, rng.random(50_000) < confidence, rng)
    assert calibrated.value < 0.015
    assert expected_calibration_error(np.ones(100), np.zeros(100, bool), rng).value == 1.0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        reliability_table([1.2], [True])
    with pytest.raises(ValueError, match="at least one row"):
        expected_calibration_error([], [], np.random.default_rng(0))
    with pytest.raises(ValueError, match="bin"):
        reliability_table([0.5], [True], bins=0)
