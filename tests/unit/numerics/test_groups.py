"""P-values of groups against enumeration and random draws."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from app.numerics.groups import low_mean_p_values
from app.numerics.significance import benjamini_hochberg


def test_shares_are_tested_exactly() -> None:
    values = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1], float)
    groups = [np.array([0, 1, 4]), np.array([2, 3]), np.array([1, 4, 6, 8])]
    for group, p in zip(groups, low_mean_p_values(values, groups), strict=True):
        draws = [values[list(drawn)].sum() for drawn in combinations(range(9), len(group))]
        assert p == pytest.approx(np.mean(np.array(draws) <= values[group].sum()))


def test_means_are_near_what_random_draws_give() -> None:
    generator = np.random.default_rng(3)
    values = generator.beta(2, 1, 300)
    group = np.argsort(values + generator.normal(0, 2.5, 300))[:30]
    (p,) = low_mean_p_values(values, [group])
    draws = np.array([generator.permutation(values)[:30].mean() for _ in range(20_000)])
    assert p == pytest.approx(np.mean(draws <= values[group].mean()), rel=0.1)


@pytest.mark.parametrize("shape", [(0.4, 0.2), (5.0, 0.6)])
def test_without_any_difference_few_samples_have_a_mark(shape: tuple[float, float]) -> None:
    generator, marked = np.random.default_rng(1), 0
    for _ in range(400):
        values = generator.beta(*shape, 200)
        groups = np.array_split(generator.permutation(200), 20)
        marked += bool((benjamini_hochberg(low_mean_p_values(values, groups)) <= 0.05).any())
    assert stats.binom.sf(marked - 1, 400, 0.05) > 0.001


def test_what_cannot_differ_has_no_evidence() -> None:
    everything, nobody = np.arange(4), np.zeros(0, np.int64)
    assert low_mean_p_values([0.2, 0.4, 0.9, 0.3], [everything, nobody]).tolist() == [1.0, 1.0]
    assert low_mean_p_values([0.5, 0.5, 0.5], [np.array([0])]).tolist() == [1.0]
    assert low_mean_p_values([0.2, 0.4], []).tolist() == []
