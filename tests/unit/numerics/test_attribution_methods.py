"""Attribution methods against brute force, closed forms and other libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor, nn

from app.numerics.attribution.data_shapley import data_shapley
from app.numerics.attribution.datamodel import fit_datamodels, subset_masks
from app.numerics.attribution.knn_shapley import knn_shapley, signed_similarity
from app.numerics.attribution.outputs import cross_entropy
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.subset_influence import memorisation, subset_influence
from app.numerics.attribution.tracin import logit_error, tracin, tracin_last_layer
from app.numerics.attribution.trak import Checkpoint, trak_scores


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_quantised_rows_are_within_half_a_level() -> None:
    rows = randn(50, 33) * torch.logspace(-6, 6, 50)[:, None]
    stored = quantise(rows)
    level = rows.abs().amax(dim=1, keepdim=True) / 127
    assert stored.codes.dtype == torch.int8
    assert ((stored.rows() - rows).abs() <= level * 0.5001).all()
    queries = randn(4, 33, seed=1)
    torch.testing.assert_close(stored.dot(queries), stored.rows() @ queries.T, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(stored.rows(10, 13), stored.rows()[10:13])


def test_a_row_of_zeros_stays_zero_and_nan_is_refused() -> None:
    assert not quantise(torch.zeros(2, 5)).rows().any()
    with pytest.raises(ValueError, match="finite"):
        quantise(torch.tensor([[1.0, torch.nan]]))


@pytest.mark.parametrize("shape", [(200, 30), (30, 200)])
def test_spectrum_solves_the_ridge_system(shape: tuple[int, int]) -> None:
    rows, queries = randn(*shape).double(), randn(5, shape[1], seed=1).double()
    moment = rows.T @ rows
    ridge = 0.3
    matrix = moment + ridge * moment.trace() / shape[1] * torch.eye(shape[1])
    expected = torch.linalg.solve(matrix, queries.T).T
    for blocks in ([rows], rows.split(40)):
        found = Spectrum.of(blocks).solve(queries, ridge)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-7)


def test_spectrum_refuses_nothing_and_no_ridge() -> None:
    with pytest.raises(ValueError, match="no training features"):
        Spectrum.of([])
    with pytest.raises(ValueError, match="positive"):
        Spectrum.of([randn(4, 2)]).solve(randn(1, 2), 0)


def test_trak_is_its_formula() -> None:
    points, expected = [], torch.zeros(40, 6, dtype=torch.float64)
    doubts = torch.rand(2, 40, generator=torch.Generator().manual_seed(3))
    for c in range(2):
        stored, targets = quantise(randn(40, 12, seed=c)), randn(6, 12, seed=10 + c)
        rows = stored.rows().double()
        moment = rows.T @ rows
        inverse = torch.linalg.inv(moment + 0.5 * moment.trace() / 12 * torch.eye(12))
        expected += rows @ inverse @ targets.double().T / 2
        points.append(Checkpoint(stored, Spectrum.of([stored.rows()]), targets, doubts[c]))
    expected *= doubts.mean(dim=0)[:, None]
    torch.testing.assert_close(trak_scores(points, ridge=0.5).double(), expected, rtol=1e-4, atol=1e-6)


def test_trak_of_a_linear_model_predicts_what_leaving_a_row_out_does() -> None:
    """For ridge regression leave-one-out has a closed form; TRAK's kernel is its first order."""
    x, target = randn(60, 5).double(), randn(1, 5, seed=1).double()
    y = x @ randn(5, 1, seed=2).double() + randn(60, 1, seed=3) * 0.1
    matrix = x.T @ x + 1e-3 * torch.eye(5)
    whole = target @ torch.linalg.solve(matrix, x.T @ y)
    effect = torch.stack(
        [
            whole - target @ torch.linalg.solve(matrix - r[:, None] * r, x.T @ y - r[:, None] * v)
            for r, v in zip(x, y, strict=True)
        ]
    ).flatten()
    residual = (y - x @ torch.linalg.solve(matrix, x.T @ y)).flatten()
    kernel = Spectrum.of([x]).solve(target, 1e-3 / float((x.T @ x).trace() / 5)).double() @ x.T
    assert torch.corrcoef(torch.stack([kernel.flatten() * residual, effect]))[0, 1] > 0.99


@pytest.mark.parametrize(("count", "k"), [(8, 3), (8, 1), (4, 6)])
def test_knn_shapley_against_all_subsets(count: int, k: int) -> None:
    train, labels = randn(count, 2), torch.arange(count) % 2
    targets, wanted = randn(3, 2, seed=5), torch.tensor([0, 1, 1])
    found = knn_shapley(train, labels, targets, wanted, k)
    for t in range(3):
        distance = (train - targets[t]).norm(dim=1)

        def utility(rows: tuple[int, ...], t: int = t, distance: Tensor = distance) -> float:
            nearest = sorted(rows, key=lambda i: float(distance[i]))[:k]
            return sum(int(labels[i]) == int(wanted[t]) for i in nearest) / k

        expected = [brute_shapley(utility, count, i) for i in range(count)]
        torch.testing.assert_close(found[:, t], torch.tensor(expected), atol=1e-6, rtol=0)


def brute_shapley(utility, count: int, player: int) -> float:
    others = [i for i in range(count) if i != player]
    total = 0.0
    for size in range(count):
        weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
        total += weight * sum(utility((*s, player)) - utility(s) for s in itertools.combinations(others, size))
    return total


def test_knn_shapley_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        knn_shapley(randn(0, 2), torch.zeros(0, dtype=torch.int64), randn(1, 2), torch.zeros(1, dtype=torch.int64))


def test_similarity_is_signed_by_the_label() -> None:
    train = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    found = signed_similarity(train, torch.tensor([0, 1, 0]), torch.tensor([[5.0, 0.0]]), torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[1.0], [-1.0], [0.0]]))


def test_data_shapley_of_a_linear_game_is_its_weights() -> None:
    weights = np.array([3.0, -1.0, 0.5, 0.0])
    found = data_shapley(lambda rows: float(weights[rows].sum()), 4, np.random.default_rng(0), permutations=20)
    np.testing.assert_allclose(found.values, weights, atol=1e-12)
    np.testing.assert_allclose(found.errors, 0, atol=1e-7)


def test_data_shapley_converges_to_brute_force_and_truncation_saves_calls() -> None:
    def utility(rows: np.ndarray) -> float:
        return min(len(rows), 3) / 3 + (0.5 if {0, 1} <= set(rows.tolist()) else 0.0)

    expected = [brute_shapley(lambda rows: utility(np.array(rows, int)), 6, i) for i in range(6)]
    found = data_shapley(utility, 6, np.random.default_rng(0), permutations=3000)
    assert (np.abs(found.values - expected) < 4 * found.errors + 1e-9).all()
    assert found.values.sum() == pytest.approx(1.5)
    stopped = data_shapley(utility, 6, np.random.default_rng(0), permutations=3000, target_error=0.05)
    assert 10 <= stopped.permutations < 300


def test_tracin_last_layer_is_the_dot_product_of_gradients() -> None:
    layer = nn.Linear(6, 3)
    x, y = randn(9, 6), torch.arange(9) % 3
    rows = []
    for one, label in zip(x.split(1), y.split(1), strict=True):
        formed = torch.autograd.grad(cross_entropy(layer(one), label)[0], [layer.weight, layer.bias])
        rows.append(torch.cat([part.flatten() for part in formed]))
    gradients = torch.stack(rows)
    error = logit_error(layer(x).detach(), y)
    inputs = torch.cat([x, torch.ones(9, 1)], dim=1)
    pair = (error, inputs)
    found = tracin_last_layer([pair, pair], [(error[:4], inputs[:4])] * 2, [0.1, 0.3])
    torch.testing.assert_close(found, 0.4 * gradients @ gradients[:4].T, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tracin([gradients], [gradients[:4]], [0.4]), found, rtol=1e-4, atol=1e-5)


def test_subset_influence_is_a_difference_of_means() -> None:
    masks = subset_masks(40, 10, 0.5, torch.Generator().manual_seed(0))
    outputs = randn(40, 3)
    assert masks.sum(dim=1).tolist() == [5] * 40
    found = subset_influence(masks, outputs)
    for i, t in itertools.product(range(10), range(3)):
        expected = outputs[masks[:, i], t].mean() - outputs[~masks[:, i], t].mean()
        assert found[i, t] == pytest.approx(float(expected), abs=1e-5)
    own = randn(40, 10, seed=4)
    found = memorisation(masks, own).value.float()
    torch.testing.assert_close(found, subset_influence(masks, own).diagonal(), rtol=1e-4, atol=1e-5)


def test_a_row_that_is_in_every_subset_has_no_influence_figure() -> None:
    masks = subset_masks(20, 4, 0.5, torch.Generator().manual_seed(0))
    masks[:, 0] = True
    assert subset_influence(masks, randn(20, 1))[0].isnan()


def test_datamodel_is_sklearns_lasso_at_its_penalty() -> None:
    masks, truth = planted_datamodel()
    outputs = masks.float() @ truth + 0.3 * randn(len(masks), truth.shape[1], seed=9)
    found = fit_datamodels(masks, outputs)
    for t in range(truth.shape[1]):
        penalty = float(found.penalties[t])
        peer = Lasso(alpha=penalty * 300 / 240 / 300, tol=1e-8, max_iter=20_000).fit(
            masks.numpy(), outputs[:, t].numpy()
        )
        np.testing.assert_allclose(found.weights[:, t].numpy(), peer.coef_, atol=0.02)
        assert found.intercepts[t] == pytest.approx(peer.intercept_, abs=0.05)


def planted_datamodel() -> tuple[Tensor, Tensor]:
    masks = subset_masks(300, 60, 0.5, torch.Generator().manual_seed(1))
    truth = torch.zeros(60, 4)
    truth[:5] = randn(5, 4, seed=2) * 2
    return masks, truth


def test_datamodel_recovers_what_was_planted_and_a_prior_helps() -> None:
    masks, truth = planted_datamodel()
    outputs = masks.float() @ truth + 2.0 * randn(len(masks), 4, seed=9)
    plain = fit_datamodels(masks, outputs)
    led = fit_datamodels(masks, outputs, prior=truth.abs() + 0.05)
    errors = [(found.weights - truth).square().sum() for found in (plain, led)]
    assert errors[1] < errors[0] < truth.square().sum()
    assert (plain.fit > 0.1).all()


def test_too_few_models_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_datamodels(torch.ones(9, 3, dtype=torch.bool), randn(9, 1))
