"""One linear SVM per class against scikit-learn with the same folds."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from svm_peer import classes_of, peer_fit, primal_objective

from app.numerics.svm import fit_linear_svms
from app.numerics.svm_problem import SvmSettings, class_folds

CASES = {
    "fewer rows than dimensions": {"sizes": [120, 120, 120], "d": 256},
    "more rows than dimensions": {"sizes": [600, 600], "d": 64},
    "training folds below, refit above the dimension": {"sizes": [300, 300], "d": 200},
    "classes of different size": {"sizes": [64, 333, 90, 150, 41], "d": 100},
    "three slices": {"sizes": [400, 400], "d": 128, "slices": 3},
    "no slice": {"sizes": [200, 200, 200], "d": 128, "slices": 0, "shift": 0.0},
    "small": {"sizes": [50] * 12, "d": 512},
}


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "-"))
def both(request):
    features, targets, groups = classes_of(**CASES[request.param])
    folds = class_folds(targets, groups)
    svms = fit_linear_svms(features, targets, groups, int(groups.max()) + 1, folds=folds)
    rows = [groups == p for p in range(len(svms.fitted))]
    peers = [peer_fit(features[r], targets[r], folds[r]) for r in rows]
    return features, targets, groups, svms, rows, peers


def test_same_chosen_cost_and_strength(both):
    *_, svms, _, peers = both
    assert svms.fitted.all()
    np.testing.assert_allclose(svms.chosen_cost, [peer.cost for peer in peers])
    np.testing.assert_allclose(svms.strength, [peer.scores.max() for peer in peers], atol=0.01)


def test_same_ranking(both):
    """On fresh rows: free support vectors all score exactly 1 or -1, so their order on training rows is rounding."""
    features, _, _, svms, _, peers = both
    fresh = torch.nn.functional.normalize(features[torch.arange(len(features)) - 7] + features.roll(11, 0), dim=1)
    for p, peer in enumerate(peers):
        found = svms.decision_values(fresh, torch.full((len(fresh),), p))
        assert spearmanr(found, peer.predict(fresh)).statistic >= 0.999


def test_same_decision_values(both):
    features, _, groups, svms, rows, peers = both
    decision = svms.decision_values(features, groups)
    for r, peer in zip(rows, peers, strict=True):
        np.testing.assert_allclose(decision[r], peer.predict(features[r]), atol=0.02)


def test_objective_is_libsvms(both):
    features, targets, _, svms, rows, peers = both
    for p, (r, peer) in enumerate(zip(rows, peers, strict=True)):
        reached = primal_objective(
            svms.weights[p], svms.intercepts[p], float(svms.chosen_cost[p]), features[r], targets[r]
        )
        assert reached == pytest.approx(peer.dual_objective, rel=1e-3)
        assert svms.gap[p] <= 1e-4


def test_scores_at_every_cost_where_the_intercept_is_determined():
    features, targets, groups = classes_of([400, 300], d=64)
    folds = class_folds(targets, groups)
    svms = fit_linear_svms(features, targets, groups, 2, folds=folds)
    for p in range(2):
        peer = peer_fit(features[groups == p], targets[groups == p], folds[groups == p])
        np.testing.assert_allclose(svms.cv_scores[p], peer.scores, atol=0.01)


def test_five_folds():
    features, targets, groups = classes_of([300], d=64)
    folds = class_folds(targets, groups, n_folds=5, seed=3)
    svms = fit_linear_svms(features, targets, groups, 1, SvmSettings(n_folds=5), folds)
    peer = peer_fit(features, targets, folds)
    assert float(svms.chosen_cost[0]) == pytest.approx(peer.cost)
    np.testing.assert_allclose(svms.cv_scores[0], peer.scores, atol=0.01)


def test_rows_need_not_be_of_unit_length():
    features, targets, groups = classes_of([200], d=64)
    features = features * 7
    folds = class_folds(targets, groups)
    svms = fit_linear_svms(features, targets, groups, 1, folds=folds)
    peer = peer_fit(features, targets, folds)
    assert float(svms.chosen_cost[0]) == pytest.approx(peer.cost)
    assert spearmanr(svms.decision_values(features, groups), peer.predict(features)).statistic >= 0.999


def test_hard_rows_score_low():
    features, targets, groups = classes_of([500], d=64, shift=8.0)
    decision = fit_linear_svms(features, targets, groups, 1).decision_values(features, groups)
    assert targets[decision.argsort()[:50]].double().mean() < 0.6
    assert targets[decision.argsort()[-200:]].double().mean() > 0.9


def test_a_batch_equals_its_classes_one_by_one():
    features, targets, groups = classes_of([40, 90, 61, 200, 90], d=80)
    folds = class_folds(targets, groups)
    together = fit_linear_svms(features, targets, groups, 5, folds=folds)
    for p in range(5):
        r = groups == p
        alone = fit_linear_svms(features[r], targets[r], torch.zeros_like(groups[r]), 1, folds=folds[r])
        assert alone.chosen_cost[0] == together.chosen_cost[p]
        np.testing.assert_allclose(alone.cv_scores[0], together.cv_scores[p], atol=0.01)
        torch.testing.assert_close(
            alone.weights[0], together.weights[p], rtol=0, atol=0.02 * alone.weights.norm().item()
        )


@pytest.mark.parametrize("elements", [1, 20_000, 10**9])
def test_memory_bound_and_padding_do_not_matter(elements):
    features, targets, groups = classes_of([40, 44, 47, 120], d=80)
    expected = fit_linear_svms(features, targets, groups, 4)
    found = fit_linear_svms(features, targets, groups, 4, SvmSettings(elements=elements))
    assert torch.equal(found.chosen_cost, expected.chosen_cost)
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=0.02)
    torch.testing.assert_close(found.cv_scores, expected.cv_scores, rtol=0, atol=0.01)


def test_order_of_classes_does_not_matter():
    features, targets, groups = classes_of([60, 80], d=80)
    folds = class_folds(targets, groups)
    forward = fit_linear_svms(features, targets, groups, 2, folds=folds)
    mixed = torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))
    mixed = mixed[groups[mixed].argsort(stable=True, descending=True)]
    swapped = fit_linear_svms(features[mixed], targets[mixed], groups[mixed], 2, folds=folds[mixed])
    torch.testing.assert_close(swapped.weights, forward.weights, rtol=0, atol=0.02)


def test_two_calls_agree_to_the_bit():
    features, targets, groups = classes_of([70, 200], d=80)
    first, second = (fit_linear_svms(features, targets, groups, 2) for _ in range(2))
    for name in ("weights", "intercepts", "chosen_cost", "cv_scores", "gap"):
        assert torch.equal(getattr(first, name), getattr(second, name))


def test_double_precision_features_are_accepted():
    features, targets, groups = classes_of([80], d=40)
    single, double = (fit_linear_svms(x, targets, groups, 1) for x in (features, features.double()))
    assert torch.equal(single.weights, double.weights)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_gap_stops_at_the_tolerance(tolerance):
    features, targets, groups = classes_of([300], d=64)
    settings = SvmSettings(costs=(1.0,), tolerance=tolerance)
    svms = fit_linear_svms(features, targets, groups, 1, settings)
    assert svms.gap[0] <= tolerance
    exact = peer_fit_at_one(features, targets)
    reached = primal_objective(svms.weights[0], svms.intercepts[0], 1.0, features, targets)
    assert exact * (1 - 1e-6) <= reached <= exact * (1 + tolerance + 1e-6)


def peer_fit_at_one(features, targets):
    from sklearn.svm import SVC

    svc = SVC(kernel="linear", class_weight="balanced", C=1.0, tol=1e-8).fit(features.numpy(), targets.numpy())
    return np.abs(svc.dual_coef_).sum() - np.square(svc.coef_).sum() / 2


def test_too_few_iterations_are_confessed():
    features, targets, groups = classes_of([300], d=64)
    svms = fit_linear_svms(features, targets, groups, 1, SvmSettings(costs=(1.0,), max_iterations=10, tolerance=1e-7))
    assert svms.gap[0] > 1e-7
