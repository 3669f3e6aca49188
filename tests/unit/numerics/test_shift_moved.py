import numpy as np
import pytest
from scipy import stats

from app.numerics.intervals import newcombe_difference_interval
from app.numerics.shift.moved import differences, fisher_p
from app.numerics.shift.multiplicity import holm


@pytest.mark.parametrize("table", [(3, 10, 8, 11), (0, 5, 4, 4), (7, 7, 7, 7), (120, 900, 90, 1000), (1, 1, 0, 30)])
def test_p_values_are_fishers(table):
    a, n, b, m = table
    peer = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert fisher_p(a, n, b, m) == pytest.approx(peer, rel=1e-6)


def test_differences_are_second_less_first_with_newcombes_interval():
    found = differences([40, 10], [50, 20], [20, 15], [60, 20])
    assert found.difference == pytest.approx([20 / 60 - 0.8, 0.25])
    low, high = newcombe_difference_interval([20, 15], [60, 20], [40, 10], [50, 20])
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.holm == pytest.approx(holm(found.p_value))
    assert np.all(found.p_value <= found.q_value)


def test_prevalence_takes_one_size_for_all_groups():
    found = differences([10, 30], 100, [20, 30], 100)
    assert found.difference == pytest.approx([0.1, 0.0])


def test_a_group_that_one_set_lacks_is_not_tested_and_costs_the_others_nothing():
    found = differences([5, 0], [10, 0], [2, 3], [10, 5])
    assert np.isnan([found.difference[1], found.p_value[1], found.low[1], found.holm[1]]).all()
    assert found.holm[0] == found.p_value[0]


def test_holm_is_the_procedure_step_by_step():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005, 0.6])
    adjusted = holm(p)
    for level in (0.02, 0.05, 0.1, 0.13):
        left = {i: v for i, v in enumerate(p) if not np.isnan(v)}
        rejected = set()
        while left:
            least = min(left, key=left.get)
            if left[least] > level / len(left):
                break
            rejected.add(least)
            del left[least]
        assert set(np.flatnonzero(adjusted <= level)) == rejected
    assert np.isnan(adjusted[2])
    assert len(holm([])) == 0


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match="p-values"):
        holm([1.2])
