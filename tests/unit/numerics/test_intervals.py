import numpy as np
import pytest
from scipy import stats

from app.numerics.intervals import (
    bootstrap_interval,
    clopper_pearson_interval,
    newcombe_difference_interval,
    wilson_interval,
)

COUNTS = [(0, 1), (0, 10), (1, 10), (5, 10), (10, 10), (37, 1000), (999_000, 1_000_000)]


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("function", "method"), [(wilson_interval, "wilson"), (clopper_pearson_interval, "exact")])
def test_share_intervals_agree_with_scipy(function, method, level):
    k, n = np.array(COUNTS).T
    low, high = function(k, n, level)
    for i, (count, size) in enumerate(COUNTS):
        expected = stats.binomtest(count, size).proportion_ci(level, method)
        assert low[i] == pytest.approx(expected.low, abs=1e-10)
        assert high[i] == pytest.approx(expected.high, abs=1e-10)


@pytest.mark.parametrize("function", [wilson_interval, clopper_pearson_interval])
def test_no_rows_means_no_knowledge(function):
    assert tuple(float(bound) for bound in function(0, 0)) == (0.0, 1.0)


@pytest.mark.parametrize("function", [wilson_interval, clopper_pearson_interval])
def test_bounds_broadcast_and_keep_the_share_inside(function):
    k = np.arange(21)[:, None]
    low, high = function(k, np.array([20, 40]))
    assert low.shape == (21, 2)
    share = k / np.array([20, 40])
    assert np.all((low <= share) & (share <= high) & (low >= 0) & (high <= 1))


def test_clopper_pearson_covers_at_least_its_level_where_wilson_only_covers_on_average():
    n, shares = 25, np.linspace(0.02, 0.98, 49)
    mass = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    coverage = {}
    for function in (wilson_interval, clopper_pearson_interval):
        low, high = function(np.arange(n + 1), n)
        inside = (low[:, None] <= shares) & (shares <= high[:, None])
        coverage[function] = (mass * inside).sum(axis=0)
    assert coverage[clopper_pearson_interval].min() >= 0.95
    assert coverage[wilson_interval].mean() == pytest.approx(0.95, abs=0.015)


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
        clopper_pearson_interval(1, 2, level)


def test_bootstrap_of_a_mean_agrees_with_scipy():
    sample = np.random.default_rng(0).exponential(size=80)
    low, high = bootstrap_interval(sample, np.random.default_rng(1), resamples=20_000)
    reference = stats.bootstrap(
        (sample,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=0.01)


def test_bootstrap_resamples_rows_together_and_is_seeded():
    x = np.random.default_rng(0).normal(size=60)
    pairs = np.stack([x, 2 * x + 1], axis=1)

    def slope(draws):
        a, b = draws[..., 0], draws[..., 1]
        centred = a - a.mean(1, keepdims=True)
        return (centred * b).sum(1) / (centred * a).sum(1)

    interval = bootstrap_interval(pairs, np.random.default_rng(3), slope)
    assert interval == pytest.approx((2.0, 2.0))
    mean = [bootstrap_interval(x, np.random.default_rng(7), resamples=50) for _ in range(2)]
    assert mean[0] == mean[1]


def test_bootstrap_needs_values():
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_interval([], np.random.default_rng(0))
