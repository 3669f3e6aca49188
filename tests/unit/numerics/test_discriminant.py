import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf
from sklearn.svm import SVC

from app.numerics.discriminant import leave_one_out_hardness, ledoit_wolf_shrinkage, shrunk_directions
from tests.unit.numerics.planting import planted_class


def refitted_decisions(features, errors, ridge):
    """Leave each row out, refit weighted ridge regression with an intercept, and decide the row."""
    x, wrong = features.double().numpy(), errors.numpy()
    weight = np.where(wrong, 0.5 / wrong.sum(), 0.5 / (~wrong).sum())
    target = np.where(wrong, 1.0, -1.0)
    centred = np.sqrt(weight)[:, None] * (x - weight @ x)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    penalty = ridge * values[values > values.max() * 1e-10].mean()
    design = np.hstack([x, np.ones((len(x), 1))])
    block = np.diag([penalty] * x.shape[1] + [0.0])
    out = np.empty(len(x))
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        a = design[rest]
        solution = np.linalg.solve(a.T * weight[rest] @ a + block, a.T @ (weight[rest] * target[rest]))
        out[i] = design[i] @ solution
    return out


@pytest.mark.parametrize("shape", [(40, 8), (30, 60)])
@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_closed_form_is_leave_one_out_by_refitting(shape, ridge):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator)
    errors = torch.rand(shape[0], generator=generator) < 0.3
    ours = leave_one_out_hardness(features, errors, (ridge,))
    assert ours.numpy() == pytest.approx(refitted_decisions(features, errors, ridge), abs=1e-7)


def test_hardness_ranks_like_the_support_vector_machine():
    features, errors, _ = planted_class(0, slices=1, n=400, d=64)
    ours = leave_one_out_hardness(features, errors).numpy()
    held_out = np.empty(400)
    for fold in range(10):
        out = np.arange(400) % 10 == fold
        machine = SVC(kernel="linear", C=0.1, class_weight="balanced").fit(features[~out], ~errors[~out])
        held_out[out] = -machine.decision_function(features[out])
    assert stats.spearmanr(ours, held_out).statistic > 0.8


def test_a_row_does_not_decide_its_own_hardness():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn((100, 300), generator=generator)
    errors = torch.rand(100, generator=generator) < 0.3
    hardness = leave_one_out_hardness(features, errors)
    assert float(hardness[errors].mean() - hardness[~errors].mean()) < 0.5 * float(hardness.std())


@pytest.mark.parametrize("errors", [[True, False, False, False], [True] * 4])
def test_too_few_of_either_outcome(errors):
    with pytest.raises(ValueError, match="two errors"):
        leave_one_out_hardness(torch.randn(4, 3), torch.tensor(errors))


@pytest.mark.parametrize("shape", [(200, 12), (30, 80)])
def test_shrinkage_agrees_with_scikit_learn(shape):
    rows = np.random.default_rng(0).normal(size=shape) * np.linspace(0.2, 3, shape[1])
    rho, mu = ledoit_wolf_shrinkage(torch.from_numpy(rows))
    covariance, expected = ledoit_wolf(rows, assume_centered=True)
    assert rho == pytest.approx(expected, abs=1e-9)
    assert mu == pytest.approx(np.trace(covariance) / shape[1])


@pytest.mark.parametrize("shape", [(200, 12), (30, 80)])
def test_directions_solve_with_the_shrunk_covariance_and_have_unit_variance(shape):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=shape) * np.linspace(0.5, 2, shape[1])
    differences = rng.normal(size=(3, shape[1]))
    ours = shrunk_directions(torch.from_numpy(differences), torch.from_numpy(rows)).numpy()
    covariance, _ = ledoit_wolf(rows, assume_centered=True)
    expected = np.linalg.solve(covariance, differences.T).T
    cosine = (ours * expected).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine == pytest.approx(np.ones(3))
    assert np.diag(ours @ covariance @ ours.T) == pytest.approx(np.ones(3))


def test_no_difference_gives_no_direction():
    assert torch.all(shrunk_directions(torch.zeros(1, 4).double(), torch.randn(9, 4).double()) == 0)
