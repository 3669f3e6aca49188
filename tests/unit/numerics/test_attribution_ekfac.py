"""EK-FAC against kronfluence, against the whole Hessian where its form is exact, and against dense matrices."""

from __future__ import annotations

import copy
import itertools
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from app.numerics.attribution import ekfac, weights
from app.numerics.attribution.coordinates import choose_coordinates, whitened
from app.numerics.attribution.outputs import cross_entropy, doubt, margin
from app.numerics.attribution.probes import curvature_probe, row_probe
from app.numerics.attribution.taps import TappedNetwork

CLASSES = 3


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(count: int, seed: int = 1) -> Tensor:
    return torch.randint(CLASSES, (count,), generator=torch.Generator().manual_seed(seed))


def tap(network: nn.Module, x: Tensor) -> TappedNetwork:
    program = torch.export.export(network.eval(), (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    return TappedNetwork(program.run_decompositions({}).module(check_guards=False), x[:1])


def factors(tapped: TappedNetwork, value, x: Tensor, y: Tensor):
    return tapped.factors(x, lambda logits: value(logits, y))[1]


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(4, 3, 3, bias=False), nn.Flatten()),
        *(nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, CLASSES)),
    )


def fitted(tapped: TappedNetwork, x: Tensor, sampled: Tensor) -> list[ekfac.Curvature]:
    """Curvature from labels that were sampled before."""
    covariance = ekfac.CovarianceSum(tapped.taps)
    for part, some in zip(x.split(13), sampled.split(13), strict=True):
        covariance.add(factors(tapped, cross_entropy, part, some))
    bases = covariance.bases()
    moments = ekfac.rotated_moments(tapped.taps, bases, factors(tapped, cross_entropy, x, sampled))
    return ekfac.joined(bases, moments, len(x))


def estimated(tapped: TappedNetwork, x: Tensor, batch: int = 16, seed: int = 0) -> list[ekfac.Curvature]:
    def batches():
        return zip(torch.arange(len(x)).split(batch), x.split(batch), strict=True)

    return ekfac.estimate_curvature(tapped, lambda: ((rows.tolist(), part) for rows, part in batches()), seed)


@pytest.mark.long
def test_scores_are_kronfluence_s_with_the_same_sampled_labels(tmp_path: Path) -> None:
    """Convolutions with stride, padding and without bias, linear layers, automatic damping."""
    pytest.importorskip("kronfluence", reason="the reference implementation comes with the development tools")
    x, y, sampled, targets, wanted = randn(60, 2, 8, 8), labels(60), labels(60, 2), randn(7, 2, 8, 8, seed=3), labels(7)
    network = convolutional()
    tapped = tap(copy.deepcopy(network), x)
    solved = ekfac.precondition(
        tapped.taps, factors(tapped, margin, targets, wanted), fitted(tapped, x, sampled), damping=0.1, each=True
    )
    found = ekfac.influence(tapped.taps, factors(tapped, cross_entropy, x, y), solved)
    expected = kronfluence_scores(network, (x, y, sampled), (targets, wanted), tmp_path)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def kronfluence_scores(
    network: nn.Module, train: tuple[Tensor, ...], targets: tuple[Tensor, ...], folder: Path
) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kronfluence.analyzer import Analyzer, prepare_model
        from kronfluence.arguments import ScoreArguments
        from kronfluence.task import Task

        class Margins(Task):
            def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
                return cross_entropy(model(batch[0]), batch[2] if sample else batch[1]).sum()

            def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
                return -margin(model(batch[0]), batch[1]).sum()

        peer = Analyzer(
            *("peer", prepare_model(network, Margins()), Margins()),
            cpu=True,
            output_dir=str(folder),
            disable_tqdm=True,
            disable_model_save=True,
        )
        rows, asked = TensorDataset(*train), TensorDataset(*targets)
        peer.fit_all_factors("factors", rows, per_device_batch_size=32)
        automatic = ScoreArguments(damping_factor=None)
        peer.compute_pairwise_scores("scores", "factors", asked, rows, 4, None, 32, score_args=automatic)
        return peer.load_pairwise_scores("scores")["all_modules"].T


def test_where_the_form_is_exact_it_is_the_inverse_hessian() -> None:
    """A layer that gives every class the same score: its Hessian is a Kronecker product, and no label is sampled."""
    torch.manual_seed(0)
    layer = nn.Linear(4, CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    x, y, targets, wanted = randn(40, 4), labels(40), randn(6, 4, seed=3), labels(6)
    tapped = tap(nn.Sequential(layer), x)
    patterns = [torch.tensor(p).expand(40, CLASSES) for p in itertools.product((-1.0, 1.0), repeat=CLASSES)]
    covariance = ekfac.CovarianceSum(tapped.taps)
    for pattern in patterns:
        covariance.add(factors(tapped, curvature_probe, x, pattern))
    bases = covariance.bases()
    probes = [factors(tapped, curvature_probe, x, pattern) for pattern in patterns]
    curvature = ekfac.joined(bases, ekfac.rotated_moments(tapped.taps, bases, *probes), 40 * len(patterns))
    solved = ekfac.precondition(tapped.taps, factors(tapped, margin, targets, wanted), curvature, damping=0.1)
    found = ekfac.influence(tapped.taps, factors(tapped, cross_entropy, x, y), solved)
    torch.testing.assert_close(found, by_hessian((x, y), (targets, wanted)), rtol=1e-3, atol=1e-4)


def by_hessian(train: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    """−∇ℓᵀ (H + λI)⁻¹ ∇f for zero weights [CLASSES, 5], H the Hessian of the mean loss by automatic differentiation."""
    zeros = torch.zeros(5 * CLASSES)

    def rows(value, x: Tensor, y: Tensor):
        inputs = torch.cat([x, torch.ones(len(x), 1)], dim=1)
        return lambda flat: value(inputs @ flat.view(CLASSES, 5).T, y)

    hessian = torch.autograd.functional.hessian(lambda flat: rows(cross_entropy, *train)(flat).mean(), zeros)
    damped = hessian + 0.1 * hessian.diagonal().mean() * torch.eye(len(hessian))
    loss = torch.autograd.functional.jacobian(rows(cross_entropy, *train), zeros)
    output = torch.autograd.functional.jacobian(rows(margin, *targets), zeros)
    return -loss @ torch.linalg.solve(damped, output.T)


def test_against_dense_matrices() -> None:
    """The whole approximate curvature is formed as a Kronecker product, damped and inverted."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, CLASSES, bias=False))
    x, y, sampled = randn(30, 4), labels(30), labels(30, 2)
    tapped = tap(network, x)
    targets = factors(tapped, margin, x[:6], y[:6])
    solved = ekfac.precondition(tapped.taps, targets, fitted(tapped, x, sampled), damping=0.1)
    found = ekfac.influence(tapped.taps, factors(tapped, cross_entropy, x, y), solved)
    bases, values = [], []
    for one, pair in zip(tapped.taps, factors(tapped, cross_entropy, x, sampled), strict=True):
        a, g = weights.inputs_at(one, pair.inputs)[:, 0], pair.gradients[:, 0]
        bases.append(torch.kron(torch.linalg.eigh(g.T @ g / 30)[1], torch.linalg.eigh(a.T @ a / 30)[1]))
        values.append((torch.einsum("no,ni->noi", g, a).flatten(1) @ bases[-1]).square().mean(dim=0))
    basis, every = torch.block_diag(*bases), torch.cat(values)
    curvature = basis @ torch.diag(every + 0.1 * every.mean()) @ basis.T

    def whole(pairs):
        return torch.cat([weights.formed(*both).flatten(1) for both in zip(tapped.taps, pairs, strict=True)], dim=1)

    total = -whole(factors(tapped, cross_entropy, x, y)) @ torch.linalg.solve(curvature, whole(targets).T)
    torch.testing.assert_close(found, total, rtol=1e-3, atol=1e-4)


def test_a_probe_has_the_fisher_matrix_as_its_second_moment() -> None:
    logits = randn(5, CLASSES).mul(3).requires_grad_()
    slopes = []
    for pattern in itertools.product((-1.0, 1.0), repeat=CLASSES):
        value = curvature_probe(logits, torch.tensor(pattern).expand(5, CLASSES)).sum()
        slopes.append(torch.autograd.grad(value, logits)[0])
    found = torch.stack([torch.einsum("nc,nd->ncd", s, s) for s in slopes]).mean(dim=0)
    p = logits.detach().softmax(dim=1)
    torch.testing.assert_close(found, torch.diag_embed(p) - torch.einsum("nc,nd->ncd", p, p), rtol=1e-4, atol=1e-6)


def test_probes_vary_less_than_sampled_labels_where_the_model_is_confident() -> None:
    logits = (8 * torch.nn.functional.one_hot(labels(400), CLASSES) + randn(400, CLASSES)).requires_grad_()
    p = logits.detach().softmax(dim=1)
    truth = float((p * (1 - p)).sum())
    generator = torch.Generator().manual_seed(0)
    errors: dict[str, list[float]] = {"signs": [], "labels": []}
    for draw in range(20):
        sampled = torch.multinomial(p, 1, generator=generator)[:, 0]
        values = {
            "signs": row_probe(range(400), draw, "test")(logits),
            "labels": cross_entropy(logits, sampled),
        }
        for name, value in values.items():
            slope = torch.autograd.grad(value.sum(), logits, retain_graph=True)[0]
            errors[name].append(float(slope.square().sum()) / truth - 1)
    spread = {name: float(torch.tensor(found).square().mean().sqrt()) for name, found in errors.items()}
    assert spread["signs"] < spread["labels"] / 5
    assert abs(float(torch.tensor(errors["signs"]).mean())) < 0.1


def test_curvature_and_features_are_the_same_in_batches_of_any_size() -> None:
    x, y = randn(30, 2, 8, 8), labels(30)
    tapped = tap(convolutional(), x)
    found = []
    for batch in (1, 7, 64):
        curvature = estimated(tapped, x, batch)
        kept = choose_coordinates(curvature, 10_000).weights
        rows = [
            whitened(tapped.taps, factors(tapped, margin, part, some), kept)
            for part, some in zip(x.split(batch), y.split(batch), strict=True)
        ]
        found.append(torch.cat(rows) @ torch.cat(rows).T)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-4 * float(found[0].max()))


def test_features_of_all_coordinates_give_the_exact_scores_and_the_first_ones_nearly() -> None:
    """∇ℓ = −(1 − p) ∇margin, so an influence is (1 − p) times an inner product of two features."""
    x, y, targets, wanted = randn(60, 2, 8, 8), labels(60), randn(9, 2, 8, 8, seed=3), labels(9)
    tapped = tap(convolutional(), x)
    curvature = estimated(tapped, x)
    solved = ekfac.precondition(tapped.taps, factors(tapped, margin, targets, wanted), curvature, damping=0.1)
    expected = ekfac.influence(tapped.taps, factors(tapped, cross_entropy, x, y), solved)
    weight = doubt(tapped.factors(x, lambda logits: margin(logits, y))[0], y)[:, None]
    total = sum(layer.values.numel() for layer in curvature)

    def scores(size: int) -> Tensor:
        choice = choose_coordinates(curvature, size, damping=0.1)
        assert (choice.share > 0.99) == (size == total)
        sides = ((x, y), (targets, wanted))
        own, other = (whitened(tapped.taps, factors(tapped, margin, *side), choice.weights) for side in sides)
        assert own.shape == (60, size)
        return weight * (own @ other.T)

    torch.testing.assert_close(scores(total), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert torch.corrcoef(torch.stack([scores(total // 2).flatten(), expected.flatten()]))[0, 1] > 0.9


def test_the_largest_coordinates_are_kept() -> None:
    layer = ekfac.Curvature((torch.eye(2), torch.eye(3)), torch.tensor([[9.0, 1.0, 4.0], [0.0, 0.5, 2.0]]))
    affine = ekfac.Curvature(None, torch.tensor([[7.0, 0.0]]))
    choice = choose_coordinates([layer, affine], 4, damping=0.1)
    assert [len(kept.places) for kept in choice.weights] == [3, 1]
    assert choice.weights[1].places.tolist() == [0]
    first = choice.weights[0]
    assert first.left is not None
    assert first.right is not None
    assert (first.left.shape, first.right.shape) == ((2, 2), (3, 2))
    # Places within the rows and columns in use: (0, 0), (0, 2), (1, 2) of the whole.
    assert first.places.tolist() == [0, 1, 3]
    torch.testing.assert_close(first.scales, (torch.tensor([9.0, 4.0, 2.0]) + 0.1 * 23.5 / 8).rsqrt())


def test_a_diagonal_where_a_gradient_is_no_product() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, CLASSES))
    x, y = randn(12, 4, 3, 3), labels(12)
    tapped = tap(network, x)
    curvature = fitted(tapped, x, y)
    assert [layer.basis is None for layer in curvature] == [True, True, False]
    pairs = factors(tapped, cross_entropy, x, y)
    solved = ekfac.precondition(tapped.taps, pairs, curvature, damping=0.1)
    formed = weights.formed(tapped.taps[0], pairs[0]).flatten(1)
    mean = torch.cat([layer.values.flatten() for layer in curvature]).mean()
    torch.testing.assert_close(solved[0], formed / (formed.square().mean(dim=0) + 0.1 * mean))


def test_a_diagonal_for_a_weight_that_is_too_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ekfac, "WIDEST", 12)
    x, y = randn(20, 2, 8, 8), labels(20)
    tapped = tap(convolutional(), x)
    curvature = estimated(tapped, x)
    # 19, 36, 13 and 7 inputs.
    assert [layer.basis is None for layer in curvature] == [True, True, True, False]
    kept = choose_coordinates(curvature, 50).weights
    assert whitened(tapped.taps, factors(tapped, margin, x, y), kept).shape == (20, 50)


def test_slices_of_the_batch_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = randn(20, 2, 8, 8), labels(20)
    tapped = tap(convolutional(), x)
    whole = fitted(tapped, x, y)
    pairs = factors(tapped, margin, x, y)
    kept = choose_coordinates(whole, 50).weights
    expected = whitened(tapped.taps, pairs, kept)
    monkeypatch.setattr(weights, "BOUND", 2000)
    every = weights.weights(tapped.taps)
    sizes = [[len(own[0].gradients) for (own,) in weight.slices(pairs)] for weight in every]
    # Of 16 positions with 19 inputs and 4 outputs each, and 76 numbers formed, four examples fit.
    assert sizes[0] == [4] * 5
    assert sizes[-1][0] == 20
    for layer, other in zip(fitted(tapped, x, y), whole, strict=True):
        torch.testing.assert_close(layer.values, other.values, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(whitened(tapped.taps, pairs, kept), expected)


class Twice(nn.Module):
    """One weight at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.shared(self.shared(x).tanh()).tanh())


def test_a_weight_that_is_used_twice_has_one_gradient() -> None:
    torch.manual_seed(0)
    network = Twice()
    x, y = randn(10, 4), labels(10)
    tapped = tap(copy.deepcopy(network), x)
    assert len(tapped.taps) == 3
    shared, _ = weights.weights(tapped.taps)
    (own,) = next(iter(shared.slices(factors(tapped, margin, x, y))))
    rows = [
        torch.autograd.grad(margin(network(one), label)[0], network.shared.weight)[0]
        for one, label in zip(x.split(1), y.split(1), strict=True)
    ]
    torch.testing.assert_close(shared.formed(own), torch.stack(rows), rtol=1e-4, atol=1e-5)
    assert len(fitted(tapped, x, y)) == 2


def test_a_weight_without_any_gradient_counts_for_nothing() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    nn.init.zeros_(network[2].weight)
    x, y = randn(20, 4), labels(20)
    tapped = tap(network, x)
    curvature = estimated(tapped, x)
    solved = ekfac.precondition(tapped.taps, factors(tapped, margin, x, y), curvature)
    assert not solved[0].any()
    assert torch.isfinite(solved[1]).all()
    features = whitened(tapped.taps, factors(tapped, margin, x, y), choose_coordinates(curvature, 1000).weights)
    assert torch.isfinite(features).all()


def test_no_rows_are_refused() -> None:
    tapped = tap(nn.Linear(4, CLASSES), randn(2, 4))
    with pytest.raises(ValueError, match="no training rows"):
        ekfac.estimate_curvature(tapped, list, 0)
