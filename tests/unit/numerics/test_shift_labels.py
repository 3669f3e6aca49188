import numpy as np
import pytest
from scipy import stats

from app.numerics.shift.labels import em_shares, homogeneity, label_shift

CONFUSION = np.array([[0.8, 0.1, 0.2], [0.15, 0.8, 0.1], [0.05, 0.1, 0.7]])


def drawn(n, shares, seed, confusion=CONFUSION):
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=shares)
    return labels, np.array([rng.choice(3, p=confusion[:, y]) for y in labels])


def test_shares_solve_the_confusion_written_out():
    labels, predicted = drawn(900, [0.3, 0.3, 0.4], 0)
    _, target = drawn(700, [0.6, 0.3, 0.1], 1)
    found = label_shift(labels, predicted, target, 3, seed=0, resamples=50)
    joint = np.array([[np.mean((predicted == i) & (labels == j)) for j in range(3)] for i in range(3)])
    weights = np.linalg.solve(joint, np.bincount(target, minlength=3) / 700)
    shares = weights * np.bincount(labels) / 900
    assert found.target == pytest.approx(shares / shares.sum(), abs=1e-9)
    assert found.weights == pytest.approx(found.target / found.source)
    assert (found.n_source, found.n_target) == (900, 700)


def test_intervals_hold_the_truth_as_often_as_they_say():
    truth = np.array([0.55, 0.3, 0.15])
    held = []
    for seed in range(60):
        labels, predicted = drawn(400, [0.3, 0.3, 0.4], seed)
        _, target = drawn(400, truth, 1000 + seed)
        found = label_shift(labels, predicted, target, 3, seed=seed, resamples=150, permutations=20)
        held.append((found.low <= truth) & (truth <= found.high))
    assert 0.9 <= np.mean(held) <= 0.99


def test_the_test_keeps_its_level_and_finds_a_shift():
    p = []
    for seed in range(200):
        labels, predicted = drawn(100, [0.3, 0.3, 0.4], seed)
        _, target = drawn(80, [0.3, 0.3, 0.4], 1000 + seed)
        p.append(label_shift(labels, predicted, target, 3, seed=seed, resamples=1, permutations=199).p_value)
    assert 0.015 <= np.mean(np.array(p) <= 0.05) <= 0.1
    labels, predicted = drawn(300, [0.3, 0.3, 0.4], 0)
    _, target = drawn(300, [0.6, 0.3, 0.1], 1)
    assert label_shift(labels, predicted, target, 3, seed=0, resamples=1).p_value < 0.01


def test_homogeneity_agrees_with_chi_squared_where_counts_are_large():
    first, second = np.array([210, 305, 500, 0]), np.array([180, 330, 420, 0])
    found = homogeneity(first, second, np.random.default_rng(0), 20_000)
    assert found == pytest.approx(stats.chi2_contingency(np.stack([first, second])[:, :3]).pvalue, abs=0.01)


def test_classes_that_the_model_cannot_tell_apart_are_said():
    clear = drawn(900, [0.3, 0.3, 0.4], 0)
    assert not label_shift(*clear, clear[1], 3, seed=0, resamples=5).near_singular
    blind = np.array([[0.5, 0.5, 0.1], [0.45, 0.45, 0.1], [0.05, 0.05, 0.8]])
    labels, predicted = drawn(900, [0.3, 0.3, 0.4], 0, blind)
    found = label_shift(labels, predicted, predicted, 3, seed=0, resamples=100)
    assert found.near_singular
    assert found.smallest_singular < 0.1
    assert found.high[0] - found.low[0] > 0.3


def test_a_class_without_labelled_rows_has_no_share():
    labels, predicted = drawn(400, [0.5, 0.5, 0.0], 0)
    found = label_shift(labels, predicted, predicted, 3, seed=0, resamples=20)
    assert np.isnan([found.source[2], found.target[2], found.low[2], found.weights[2]]).all()
    assert found.target[:2].sum() == pytest.approx(1)


def test_expectation_maximisation_finds_the_likeliest_shares():
    rng = np.random.default_rng(2)
    means = np.array([-1.5, 0.0, 1.5])
    x = rng.normal(means[rng.choice(3, 3000, p=[0.6, 0.3, 0.1])])
    prior = np.array([0.2, 0.3, 0.5])
    likelihood = stats.norm.pdf(x[:, None], means)
    posterior = likelihood * prior / (likelihood * prior).sum(axis=1, keepdims=True)
    found = em_shares(prior, posterior)
    assert found == pytest.approx([0.6, 0.3, 0.1], abs=0.04)

    def likely(shares):
        return np.log(likelihood @ shares).sum()

    for step in ([0.01, -0.01, 0], [-0.01, 0.01, 0], [0, 0.01, -0.01], [-0.01, 0, 0.01]):
        assert likely(found) >= likely(found + np.array(step))


@pytest.mark.parametrize(("labels", "target"), [([], [0]), ([0], []), ([3], [0]), ([0], [-1])])
def test_what_cannot_be_estimated_is_refused(labels, target):
    with pytest.raises(ValueError, match=r"class|row"):
        label_shift(labels, labels, target, 3, seed=0)


def test_probabilities_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="probabilities"):
        em_shares([0.5, 0.5], np.ones((3, 3)) / 3)
