"""Margins of ordinary layers: equal to those of plain references, whatever the batch; what is wrong is said."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.bounds import layers
from app.numerics.bounds.cost import cost
from app.numerics.bounds.margins import METHODS, margin_bounds
from app.numerics.bounds.program import Builder, Program


def network(seed: int = 0) -> tuple[Program, list[Tensor]]:
    """Convolution, ReLU, convolution, ReLU, linear on 1 × 8 × 8; the program and its weights."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 1, 4, 4), (4,), (6, 4, 4, 4), (6,), (5, 24), (5,)]
    weights = [torch.randn(shape, generator=generator) / max(math.prod(shape[1:]), 1) ** 0.5 for shape in shapes]
    builder = Builder((1, 8, 8))
    x = builder.relu(builder.conv(builder.image, weights[0], weights[1], stride=(2, 2), padding=(1, 1)))
    x = builder.relu(builder.conv(x, weights[2], weights[3], stride=(2, 2), padding=(1, 1)))
    builder.linear(builder.rearrange(lambda t: t.flatten(1), x), weights[4], weights[5])
    return builder.program(), weights


def images_of(count: int) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(9))


def interval_reference(weights: list[Tensor], images: Tensor, labels: Tensor, radius: float) -> Tensor:
    """Gowal et al., section 3, by the least and the largest value of every product."""
    low, high = (images - radius).clamp_min(0).double(), (images + radius).clamp_max(1).double()
    for i in (0, 2):
        up, down = weights[i].double().clamp_min(0), weights[i].double().clamp_max(0)
        how = {"stride": 2, "padding": 1}
        bias = weights[i + 1].double()[:, None, None]
        low, high = (
            functional.conv2d(low, up, **how) + functional.conv2d(high, down, **how) + bias,
            functional.conv2d(high, up, **how) + functional.conv2d(low, down, **how) + bias,
        )
        low, high = low.clamp_min(0), high.clamp_min(0)
    low, high = low.flatten(1), high.flatten(1)
    rows = weights[4].double()[labels][:, None] - weights[4].double()
    offset = weights[5].double()[labels][:, None] - weights[5].double()
    found = (rows.clamp_min(0) * low[:, None] + rows.clamp_max(0) * high[:, None]).sum(2) + offset
    return found.scatter(1, labels[:, None], math.inf).amin(1)


def dense(weights: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The layers as matrices, from the columns of unit vectors."""
    found, shape = [], (1, 8, 8)
    for i in (0, 2):
        unit = torch.eye(math.prod(shape), dtype=torch.float64).view(-1, *shape)
        columns = functional.conv2d(unit, weights[i].double(), stride=2, padding=1)
        shape = tuple(columns.shape[1:])
        bias = weights[i + 1].double().repeat_interleave(shape[1] * shape[2])
        found.append((columns.flatten(1).T, bias))
    return [*found, (weights[4].double(), weights[5].double())]


def dual_reference(weights: list[Tensor], image: Tensor, label: int, radius: float) -> float:
    """Wong and Kolter, theorem 1 and algorithm 1, one neuron after the other: −Σ ν_{i+1} b − x ν̂ − …"""
    matrices = dense(weights)
    centre = ((image - radius).clamp_min(0) + (image + radius).clamp_max(1)).double().flatten() / 2
    reach = ((image + radius).clamp_max(1) - (image - radius).clamp_min(0)).double().flatten() / 2
    bounds: list[tuple[Tensor, Tensor]] = []

    def objective(c: Tensor) -> float:
        total, nu = 0.0, c
        for place in range(len(bounds), -1, -1):
            weight, bias = matrices[place]
            total += float(nu @ bias)
            nu = nu @ weight
            if place:
                low, high = bounds[place - 1]
                slope = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, high / (high - low)))
                total += float((nu.clamp_max(0) * -low * slope)[(low < 0) & (high > 0)].sum())
                nu = nu * slope
        return total + float(nu @ centre) - float(nu.abs() @ reach)

    for weight, _ in matrices[:-1]:
        unit = torch.eye(len(weight), dtype=torch.float64)
        low = torch.tensor([objective(row) for row in unit], dtype=torch.float64)
        bounds.append((low, torch.tensor([-objective(-row) for row in unit], dtype=torch.float64)))
    last = torch.eye(len(matrices[-1][1]), dtype=torch.float64)
    return min(objective(last[label] - row) for other, row in enumerate(last) if other != label)


@pytest.mark.parametrize("radius", [0.0, 0.01, 0.1, 0.5])
def test_interval_bounds_are_the_products_least_and_largest_values(radius: float) -> None:
    program, weights = network()
    images, labels = images_of(20), torch.arange(20) % 5
    found = margin_bounds(program, images, labels, radius, "ibp", unit=0)
    assert torch.allclose(found.double(), interval_reference(weights, images, labels, radius), atol=1e-5)
    rounded = margin_bounds(program, images, labels, radius, "ibp")
    assert bool((rounded < found).all())
    assert float((found - rounded).max()) < 1e-3


@pytest.mark.parametrize("radius", [0.0, 0.01, 0.1])
def test_the_polytopes_bounds_are_the_papers_algorithm(radius: float) -> None:
    program, weights = network(1)
    images, labels = images_of(4), torch.arange(4)
    found = margin_bounds(program, images, labels, radius, "wong_kolter", unit=0)
    expected = [dual_reference(weights, image, label, radius) for label, image in enumerate(images)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_without_a_ball_every_method_gives_the_margin() -> None:
    program, _ = network(2)
    images, labels = images_of(6), torch.arange(6) % 5
    logits = program.forward(images.double())
    margin = logits.gather(1, labels[:, None])[:, 0] - logits.scatter(1, labels[:, None], -math.inf).amax(1)
    for method in METHODS:
        assert torch.allclose(margin_bounds(program, images, labels, 0.0, method, unit=0), margin.float(), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_an_images_bound_hangs_neither_on_its_batch_nor_on_the_chunks(method, monkeypatch: pytest.MonkeyPatch) -> None:
    program, _ = network(3)
    images, labels = images_of(7), torch.arange(7) % 5
    together = margin_bounds(program, images, labels, 0.05, method)
    alone = [margin_bounds(program, images[[i]], labels[[i]], 0.05, method) for i in range(7)]
    assert torch.allclose(torch.cat(alone), together, atol=1e-6)
    monkeypatch.setattr(layers, "_COEFFICIENTS", {"cpu": 500})
    assert torch.allclose(margin_bounds(program, images, labels, 0.05, method), together, atol=1e-6)
    assert margin_bounds(program, images[:0], labels[:0], 0.05, method).shape == (0,)


def test_bounds_that_are_not_finite_prove_nothing() -> None:
    builder = Builder((1, 1, 2))
    x = builder.linear(builder.rearrange(lambda t: t.flatten(1), builder.image), torch.full((3, 2), math.inf))
    builder.linear(builder.relu(x), torch.eye(3))
    bounds = margin_bounds(builder.program(), torch.full((1, 1, 1, 2), 0.5), torch.tensor([0]), 0.1, "crown")
    assert bounds.tolist() == [-math.inf]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"images": torch.full((2, 1, 8, 8), 1.5)}, r"\[0, 1\]"),
        ({"images": torch.zeros(2, 3, 8, 8)}, "do not fit"),
        ({"labels": torch.tensor([0, 5])}, "between 0 and 4"),
        ({"labels": torch.tensor([0])}, "do not fit"),
        ({"radius": -0.1}, "radius"),
        ({"radius": math.nan}, "radius"),
    ],
)
def test_wrong_input_is_named(changes: dict, word: str) -> None:
    program, _ = network()
    given = {"images": images_of(2), "labels": torch.tensor([0, 1]), "radius": 0.1, **changes}
    with pytest.raises(ValueError, match=word):
        margin_bounds(program, method="crown", **given)


def test_a_program_ends_in_logits() -> None:
    builder = Builder((1, 8, 8))
    builder.relu(builder.image)
    with pytest.raises(ValueError, match="two logits"):
        builder.program()


def test_batch_normalisation_becomes_part_of_the_layer_before_it_unless_that_is_used_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, scale, shift = (torch.randn(shape, generator=generator) for shape in ((2, 1, 3, 3), (2, 1, 1), (2, 1, 1)))
    counts = []
    for twice in (False, True):
        builder = Builder((1, 4, 4))
        first = builder.conv(builder.image, weight)
        x = builder.affine(first, scale, shift)
        if twice:
            x = builder.rearrange(lambda a, b: torch.cat([a, b], 1), x, first)
        x = builder.rearrange(lambda t: t.flatten(1), x)
        builder.linear(x, torch.ones(2, builder.shape(x)[0]))
        program = builder.program()
        images = torch.rand(3, 1, 4, 4, generator=generator)
        own = functional.conv2d(images, weight)
        expected = (own * scale + shift).sum((1, 2, 3)) + (own.sum((1, 2, 3)) if twice else 0)
        assert torch.allclose(program.forward(images)[:, 0], expected, atol=1e-4)
        counts.append(len(program.steps))
    assert counts == [3, 5]


def test_the_cost_counts_backward_passes() -> None:
    program, _ = network()
    found = cost(program)
    assert 1 < found.ibp < found.crown < found.wong_kolter
    # Before the second ReLU: 24 neurons, both sides, through the first convolution alone (64 · 16 products and 64 for
    # its ReLU); then four differences of logits through everything.
    once = 64 * 16 + 64 + 24 * 64 + 24 + 24 + 5 * 24
    dear = 2 * 24 * (64 * 16 + 64) + 4 * once
    assert found.wong_kolter == pytest.approx(found.ibp + 2 * dear / once)
