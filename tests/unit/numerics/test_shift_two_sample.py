import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from app.numerics.logistic import fit_logistic
from app.numerics.shift.columns import fit_columns
from app.numerics.shift.two_sample import classifier_test


def two(seed, n=60, m=60, d=4, move=0.0):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(m, d))
    y[:, 0] += move
    return rng.normal(size=(n, d)).astype(np.float32), y.astype(np.float32)


def test_columns_are_the_regressions_one_by_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    labels = (x @ rng.normal(size=(3, 4)) + rng.normal(size=(80, 4)) > 0).astype(np.int64)
    found = fit_columns(x, labels, 2.0, steps=2000, tolerance=1e-9)
    for column in range(4):
        peer = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10).fit(x, labels[:, column])
        assert found[:, column] == pytest.approx(peer.coef_[0], abs=1e-5)
        # two columns of half the weight each, under twice the penalty, are the same minimum
        both = fit_logistic(x, labels[:, column], 2, 4.0, steps=5000, tolerance=1e-9)
        assert found[:, column] == pytest.approx(both[:, 1] - both[:, 0], abs=1e-4)


def test_columns_refuse_a_penalty_of_zero():
    with pytest.raises(ValueError, match="penalty"):
        fit_columns(np.ones((2, 1)), np.array([[0], [1]]), 0.0)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (60, 20)])
def test_false_alarms_keep_their_level_where_the_binomial_does_not(n, m):
    found = [classifier_test(*two(seed, n, m), seed=seed, permutations=39) for seed in range(250)]
    p = np.array([result.p_value for result in found])
    assert 0.016 <= (p <= 0.05).mean() <= 0.09
    assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.1)
    # the held-out answers spread more than independent ones would
    assert np.var([result.accuracy for result in found]) > 1.3 * 0.25 / (n + m)


def test_accuracy_is_that_of_held_out_rows():
    noise = two(0, 100, 100, 60)
    assert classifier_test(*noise, seed=0, permutations=20).accuracy < 0.62
    apart = classifier_test(*two(1, 400, 400, 4, 2.0), seed=0, permutations=99)
    assert apart.accuracy == pytest.approx(0.841, abs=0.04)
    assert apart.low < apart.accuracy < apart.high
    assert apart.p_value == pytest.approx(0.01)


def test_unequal_sets_are_judged_by_balanced_accuracy():
    found = classifier_test(*two(2, 500, 40), seed=0, permutations=20)
    assert found.accuracy == pytest.approx(0.5, abs=0.12)
    assert (found.n_x, found.n_y) == (500, 40)


def test_scores_rank_what_is_typical_of_the_second_set():
    x, y = two(3, 200, 150, 3, 3.0)
    found = classifier_test(x, y, seed=0, permutations=5)
    assert np.corrcoef(found.y_scores, y[:, 0])[0, 1] > 0.9
    assert found.x_scores.mean() < 0 < found.y_scores.mean()
    assert found.auc == pytest.approx(np.mean(found.y_scores[:, None] > found.x_scores[None]))


def test_rows_that_are_all_alike_cannot_be_told_apart():
    found = classifier_test(np.ones((20, 3), np.float32), np.ones((30, 3), np.float32), seed=0, permutations=30)
    assert found.p_value > 0.1


def test_rows_that_were_not_drawn_are_scored_too():
    x, y = two(4, 300, 120, 3, 3.0)
    found = classifier_test(x, y, seed=0, permutations=5, most=100)
    assert (found.n_x, found.n_y, len(found.x_scores), len(found.y_scores)) == (100, 100, 300, 120)
    assert (found.x_scores == 0).sum() == 0
    assert ((found.x_scores < 0).mean(), (found.y_scores > 0).mean()) == pytest.approx((0.93, 0.93), abs=0.06)


def test_many_dimensions_are_reduced_without_a_look_at_the_sets():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(120, 200)), rng.normal(size=(120, 200))
    x[:, :3] *= 5
    y[:, :3] = y[:, :3] * 5 + 6
    found = classifier_test(x.astype(np.float32), y.astype(np.float32), seed=0, permutations=99)
    assert found.accuracy > 0.75
    assert found.p_value == pytest.approx(0.01)


def test_a_seed_gives_the_same_answer():
    x, y = two(6, move=0.4)
    one, again = (classifier_test(x, y, seed=3, permutations=30) for _ in range(2))
    assert (one.accuracy, one.p_value) == (again.accuracy, again.p_value)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="folds"):
        classifier_test(*two(0, 4, 20), seed=0)
    with pytest.raises(ValueError, match="finite"):
        classifier_test(np.full((9, 2), np.inf, np.float32), np.zeros((9, 2), np.float32), seed=0)
