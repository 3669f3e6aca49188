"""Classes that cannot be fitted, features without content, and wrong input."""

import numpy as np
import pytest
import torch
from svm_peer import classes_of

from app.numerics.svm import fit_linear_svms
from app.numerics.svm_problem import SvmSettings, class_folds


def with_errors(counts, n=30, d=16):
    """One class per entry: n rows of which so many are errors."""
    generator = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(len(counts) * n, d, generator=generator), dim=1)
    targets = torch.cat([torch.arange(n) >= count for count in counts])
    return features, targets, torch.arange(len(counts)).repeat_interleave(n)


def test_classes_without_enough_of_an_outcome_are_not_fitted():
    features, targets, groups = with_errors([0, 1, 2, 15, 28, 29, 30])
    svms = fit_linear_svms(features, targets, groups, 7)
    assert svms.fitted.tolist() == [False, False, True, True, True, False, False]
    for value in (svms.weights, svms.intercepts, svms.chosen_cost, svms.cv_scores, svms.gap, svms.strength):
        assert value[svms.fitted].isfinite().all()
        assert value[~svms.fitted].isnan().all()
    assert torch.equal(svms.decision_values(features, groups).isnan(), ~svms.fitted[groups])


def test_classes_of_no_and_of_one_row():
    features, targets, groups = with_errors([10])
    groups = torch.where(torch.arange(30) == 29, 3, 1)
    svms = fit_linear_svms(features, targets, groups, 5)
    assert svms.fitted.tolist() == [False, True, False, False, False]


def test_no_rows_at_all():
    empty = torch.zeros(0, dtype=torch.int64)
    svms = fit_linear_svms(torch.zeros(0, 8), empty.bool(), empty, 3)
    assert not svms.fitted.any()
    assert svms.weights.shape == (3, 8)
    assert svms.decision_values(torch.zeros(0, 8), empty).shape == (0,)


def test_other_classes_do_not_suffer():
    features, targets, groups = with_errors([12, 0, 1, 9])
    good = (groups == 0) | (groups == 3)
    folds = class_folds(targets, groups)
    with_bad = fit_linear_svms(features, targets, groups, 4, folds=folds)
    alone = fit_linear_svms(features[good], targets[good], groups[good], 4, folds=folds[good])
    torch.testing.assert_close(with_bad.weights, alone.weights, equal_nan=True)


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_constant_features_say_nothing(constant):
    _, targets, groups = with_errors([10, 20])
    svms = fit_linear_svms(torch.full((60, 16), constant), targets, groups, 2)
    assert svms.fitted.all()
    assert svms.strength.tolist() == [0.5, 0.5]
    assert svms.weights.abs().max() < 1e-3


def test_a_constant_dimension_and_duplicate_rows():
    features, targets, groups = with_errors([10])
    features[:, 3] = 0
    features[10:20] = features[10]
    svms = fit_linear_svms(features, targets, groups, 1)
    assert svms.gap[0] <= 1e-4
    assert svms.weights[0, 3].item() == pytest.approx(0, abs=1e-6)


def test_identical_rows_with_both_outcomes():
    features = torch.ones(40, 4) / 2
    features[:20] *= -1
    targets = torch.arange(40) % 4 > 0
    svms = fit_linear_svms(features, targets, torch.zeros(40, dtype=torch.int64), 1)
    assert svms.fitted.all()
    assert svms.weights.isfinite().all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_non_finite_features_are_named(value):
    features, targets, groups = with_errors([10])
    features[17, 2] = value
    with pytest.raises(ValueError, match="features of row 17 are NaN or infinite"):
        fit_linear_svms(features, targets, groups, 1)


def test_wrong_input_is_named():
    features, targets, groups = with_errors([10])
    for bad, message in (
        ((features[0], targets, groups, 1), "features are"),
        ((features.int(), targets, groups, 1), "features are"),
        ((features, targets.int(), groups, 1), "targets are"),
        ((features, targets[:5], groups, 1), "targets are"),
        ((features, targets, groups.int(), 1), "groups are"),
        ((features, targets, groups + 3, 2), "groups run from 3 to 3"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_linear_svms(*bad)


def test_wrong_settings_are_named():
    data = (*with_errors([10]), 1)
    for costs in ((), (1.0, 0.1), (0.0, 1.0)):
        with pytest.raises(ValueError, match="costs are"):
            fit_linear_svms(*data, SvmSettings(costs=costs))
    with pytest.raises(ValueError, match="n_folds is 1"):
        fit_linear_svms(*data, SvmSettings(n_folds=1))
    with pytest.raises(ValueError, match="folds run from 0 to 2"):
        fit_linear_svms(*data, folds=torch.arange(30) % 3)
    with pytest.raises(ValueError, match="folds are"):
        fit_linear_svms(*data, folds=torch.zeros(3, dtype=torch.int64))


def test_folds_that_put_all_errors_together_leave_the_class_unfitted():
    features, targets, groups = with_errors([10])
    svms = fit_linear_svms(features, targets, groups, 1, folds=(~targets).long())
    assert not svms.fitted.any()


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_folds_are_stratified_within_every_class(n_folds):
    _, targets, groups = classes_of([31, 50, 11], d=4)
    folds = class_folds(targets, groups, n_folds, seed=4)
    for p in range(3):
        cells = [folds[(groups == p) & (targets == t)].bincount(minlength=n_folds) for t in (True, False)]
        for counts in (*cells, cells[0] + cells[1]):
            assert counts.max() - counts.min() <= 1


def test_folds_are_seeded():
    _, targets, groups = classes_of([200], d=4)
    folds = [class_folds(targets, groups, seed=seed).numpy() for seed in (1, 1, 2)]
    assert np.array_equal(folds[0], folds[1])
    assert 0.3 < (folds[0] == folds[2]).mean() < 0.7
