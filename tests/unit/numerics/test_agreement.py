import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from app.numerics.agreement import cohens_kappa


@pytest.mark.parametrize("names", [["accept", "reject"], ["accept", "reject", "unsure", "später"]])
def test_kappa_agrees_with_scikit_learn(names):
    rng = np.random.default_rng(0)
    first = rng.choice(names, 200)
    second = np.where(rng.random(200) < 0.6, first, rng.choice(names, 200))
    result = cohens_kappa(first, second)
    assert result.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert result.n == 200
    assert result.observed == pytest.approx((first == second).mean())


def test_interval_of_the_textbook_example():
    """Fleiss, Levin, Paik, "Statistical Methods for Rates and Proportions", 3rd ed., table 18.1."""
    table = np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]])
    rows, columns = np.indices(table.shape)
    first, second = np.repeat(rows.ravel(), table.ravel()), np.repeat(columns.ravel(), table.ravel())
    result = cohens_kappa(first, second)
    assert result.kappa == pytest.approx(0.676, abs=5e-4)
    assert (result.high - result.low) / 2 / 1.959964 == pytest.approx(0.0877, abs=5e-4)


def test_interval_covers_the_true_kappa():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        first = rng.random(150) < 0.4
        second = np.where(rng.random(150) < 0.7, first, rng.random(150) < 0.4)
        result = cohens_kappa(first, second)
        hits += result.low <= 0.7 <= result.high
    assert hits / 400 == pytest.approx(0.95, abs=0.03)


def test_perfect_and_undefined_agreement():
    assert cohens_kappa([0, 1, 1], [0, 1, 1]).kappa == 1.0
    same = cohens_kappa(["accept"] * 5, ["accept"] * 5)
    assert np.isnan(same.kappa)
    assert (same.low, same.high) == (-1.0, 1.0)


@pytest.mark.parametrize(("first", "second"), [([], []), ([1, 0], [1])])
def test_unpaired_verdicts_are_refused(first, second):
    with pytest.raises(ValueError, match="same items"):
        cohens_kappa(first, second)
