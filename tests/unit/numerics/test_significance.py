import itertools

import numpy as np
import pytest
from scipy import stats

from app.numerics.significance import benjamini_hochberg, slice_excess_p_value


def test_slice_test_is_fishers_exact_test_one_sided():
    rng = np.random.default_rng(0)
    total = rng.integers(1, 400, 60)
    bad = rng.integers(0, total + 1)
    n = rng.integers(0, total + 1)
    k = rng.hypergeometric(bad, total - bad, n)
    p = slice_excess_p_value(k, n, bad, total)
    for i in range(60):
        table = [[k[i], n[i] - k[i]], [bad[i] - k[i], total[i] - bad[i] - n[i] + k[i]]]
        assert p[i] == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-8)


def test_slice_test_by_enumeration_of_all_assignments():
    errors = [1, 1, 1, 0, 0, 0, 0]
    at_least_two = [sum(errors[i] for i in s) >= 2 for s in itertools.combinations(range(7), 3)]
    assert float(slice_excess_p_value(2, 3, 3, 7)) == pytest.approx(np.mean(at_least_two))


def test_slice_test_at_design_size_agrees_with_the_binomial_limit_and_stays_positive():
    p = slice_excess_p_value([60, 900], [1000, 1000], 50_000, 1_000_000)
    assert p[0] == pytest.approx(stats.hypergeom.sf(59, 1_000_000, 50_000, 1000), rel=1e-6)
    assert 0 < p[1] < 1e-300


def test_degenerate_slices_say_nothing():
    assert slice_excess_p_value([0, 5, 0], [0, 10, 3], [5, 5, 0], [10, 10, 10]).tolist() == [1.0, 1.0, 1.0]


def test_contradictory_counts_are_refused():
    with pytest.raises(ValueError, match="fit inside"):
        slice_excess_p_value(3, 4, 2, 10)


def test_null_p_values_are_valid():
    rng = np.random.default_rng(1)
    k = rng.hypergeometric(30, 170, 40, size=5000)
    p = slice_excess_p_value(k, 40, 30, 200)
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 0.01


def test_benjamini_hochberg_agrees_with_scipy():
    p = np.random.default_rng(2).random(200) ** 3
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


def test_benjamini_hochberg_of_the_papers_example():
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    p += [0.7590, 1.0]
    assert (benjamini_hochberg(p) <= 0.05).sum() == 4


def test_untested_hypotheses_do_not_count():
    adjusted = benjamini_hochberg([0.01, np.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[1])
    assert benjamini_hochberg([]).shape == (0,)


@pytest.mark.parametrize("bad", [[-0.1], [1.5], [[0.5]]])
def test_impossible_p_values_are_refused(bad):
    with pytest.raises(ValueError, match="p-values"):
        benjamini_hochberg(bad)
