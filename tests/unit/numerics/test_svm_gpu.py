"""The same code on a CUDA device."""

import time

import pytest
import torch
from svm_peer import classes_of

from app.numerics.svm import fit_linear_svms
from app.numerics.svm_null import permutation_strength
from app.numerics.svm_problem import SvmSettings, class_folds

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("d", [40, 400])
def test_agrees_with_the_cpu(d):
    features, targets, groups = classes_of([50, 200, 90, 201], d=d)
    folds = class_folds(targets, groups)
    settings = SvmSettings(tolerance=1e-6)
    cpu = fit_linear_svms(features, targets, groups, 4, settings, folds)
    gpu = fit_linear_svms(features.cuda(), targets.cuda(), groups.cuda(), 4, settings, folds.cuda())
    assert gpu.weights.is_cuda
    assert torch.equal(gpu.chosen_cost.cpu(), cpu.chosen_cost)
    torch.testing.assert_close(gpu.cv_scores.cpu(), cpu.cv_scores, rtol=0, atol=0.01)
    torch.testing.assert_close(gpu.weights.cpu(), cpu.weights, rtol=0, atol=0.01)
    null = permutation_strength(features.cuda(), targets.cuda(), groups.cuda(), 4, 5, settings, folds.cuda())
    expected = permutation_strength(features, targets, groups, 4, 5, settings, folds)
    torch.testing.assert_close(null.cpu(), expected, rtol=0, atol=0.01)


def test_features_may_stay_on_the_cpu():
    features, targets, groups = classes_of([60, 90], d=64)
    svms = fit_linear_svms(features, targets, groups, 2, SvmSettings(device="cuda"))
    assert not svms.weights.is_cuda
    assert svms.fitted.all()


def test_a_thousand_classes_of_fifty_rows_under_two_seconds():
    features, targets, groups = (tensor.cuda() for tensor in classes_of([50] * 1000, d=512))
    fit_linear_svms(features[:500], targets[:500], groups[:500], 10)
    torch.cuda.synchronize()
    start = time.perf_counter()
    fit_linear_svms(features, targets, groups, 1000)
    torch.cuda.synchronize()
    assert time.perf_counter() - start < 2
