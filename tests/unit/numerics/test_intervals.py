import numpy as np
import pytest
from scipy import stats

from app.numerics.intervals import mean_interval, newcombe_difference_interval, wilson_interval

COUNTS = [(0, 1), (0, 10), (1, 10), (5, 10), (10, 10), (37, 1000), (999_000, 1_000_000)]


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_scipy(level):
    k, n = np.array(COUNTS).T
    low, high = wilson_interval(k, n, level)
    for i, (count, size) in enumerate(COUNTS):
        expected = stats.binomtest(count, size).proportion_ci(level, "wilson")
        assert low[i] == pytest.approx(expected.low, abs=1e-10)
        assert high[i] == pytest.approx(expected.high, abs=1e-10)


def test_no_rows_means_no_knowledge():
    assert tuple(float(bound) for bound in wilson_interval(0, 0)) == (0.0, 1.0)


def test_bounds_broadcast_and_keep_the_share_inside():
    k = np.arange(21)[:, None]
    low, high = wilson_interval(k, np.array([20, 40]))
    assert low.shape == (21, 2)
    share = k / np.array([20, 40])
    assert np.all((low <= share) & (share <= high) & (low >= 0) & (high <= 1))


def test_wilson_covers_its_level_on_average():
    n, shares = 25, np.linspace(0.02, 0.98, 49)
    mass = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    low, high = wilson_interval(np.arange(n + 1), n)
    inside = (low[:, None] <= shares) & (shares <= high[:, None])
    assert (mass * inside).sum(axis=0).mean() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("a", "n_a", "b", "n_b", "expected"),
    [
        (56, 70, 48, 80, (0.0524, 0.3339)),
        (9, 10, 3, 10, (0.1705, 0.8090)),
        (10, 10, 0, 20, (0.6791, 1.0)),
        (0, 10, 0, 20, (-0.1611, 0.2775)),
    ],
)
def test_newcombe_reproduces_the_examples_of_the_paper(a, n_a, b, n_b, expected):
    low, high = newcombe_difference_interval(a, n_a, b, n_b)
    assert (float(low), float(high)) == pytest.approx(expected, abs=6e-5)


def test_newcombe_is_antisymmetric():
    low, high = newcombe_difference_interval(7, 30, 12, 25)
    swapped_low, swapped_high = newcombe_difference_interval(12, 25, 7, 30)
    assert float(low) == pytest.approx(-float(swapped_high))
    assert float(high) == pytest.approx(-float(swapped_low))


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson_interval(k, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_impossible_levels_are_refused(level):
    with pytest.raises(ValueError, match="level"):
        wilson_interval(1, 2, level)


def test_the_interval_of_a_mean_is_student_s_within_its_range() -> None:
    values = np.random.default_rng(4).beta(2, 3, 30) * 2
    low, high = mean_interval(values, most=2.0)
    expected = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected)
    assert mean_interval([0.0, 0.0, 0.1])[0] == 0.0


def test_equal_values_do_not_make_an_interval_of_no_width() -> None:
    for value in (0.0, 0.3, 1.0):
        low, high = mean_interval([value] * 5)
        assert low <= value <= high
        assert high - low > 0.2
    assert mean_interval([0.4]) == pytest.approx([float(end) for end in wilson_interval(0.4, 1)])
    assert mean_interval([]) == (0.0, 1.0)
