"""Bounds hold against every image that was tried, in the network's own arithmetic and beyond."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor
from torch.nn import functional

from app.numerics.attacks.ensemble import ensemble, standard
from app.numerics.attacks.region import Ball
from app.numerics.bounds.backward import lower
from app.numerics.bounds.interval import FLOAT32, ball, interval_bounds
from app.numerics.bounds.layers import layer_bounds
from app.numerics.bounds.margins import METHODS, margin_bounds
from app.numerics.bounds.ops import Add, Average
from app.numerics.bounds.program import Builder, Program

SHAPE = (2, 6, 6)


class Random:
    """Weights of one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def weights(self, *shape: int, gain: float = 1.5) -> Tensor:
        fan = max(int(np.prod(shape[1:])), 1)
        return gain * torch.randn(shape, generator=self.generator) / fan**0.5

    def images(self, count: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
        return torch.rand(count, *shape, generator=self.generator)


def mlp(random: Random) -> Program:
    builder = Builder(SHAPE)
    x = builder.rearrange(lambda t: t.flatten(1), builder.image)
    for wide, out in ((72, 9), (9, 7)):
        x = builder.relu(builder.linear(x, random.weights(out, wide), random.weights(out)))
    builder.linear(x, random.weights(4, 7), random.weights(4))
    return builder.program()


def conv(random: Random) -> Program:
    """Normalisation, grouped, strided and dilated convolutions, batch normalisation, average pooling."""
    builder = Builder(SHAPE)
    x = builder.affine(
        builder.image, torch.tensor([3.0, 4.0])[:, None, None], torch.tensor([-1.5, -2.0])[:, None, None]
    )
    x = builder.conv(x, random.weights(4, 1, 3, 3), random.weights(4), padding=(1, 1), groups=2)
    scale, shift = (random.weights(4)[:, None, None] for _ in range(2))
    x = builder.relu(builder.affine(x, scale, shift))
    x = builder.relu(builder.conv(x, random.weights(6, 4, 2, 3), random.weights(6), stride=(2, 1), dilation=(1, 2)))
    x = builder.add(Average(lambda t: functional.avg_pool2d(t, 2), 4), x)
    x = builder.rearrange(lambda t: t.flatten(1), x)
    builder.linear(x, random.weights(3, builder.shape(x)[0]), random.weights(3))
    return builder.program()


def residual(random: Random) -> Program:
    """Blocks as in the CIFAR form of the residual network: the second strides and pads channels in its short cut."""
    builder = Builder(SHAPE)
    x = builder.relu(builder.conv(builder.image, random.weights(3, 2, 3, 3), random.weights(3), padding=(1, 1)))
    for before, after, stride in ((3, 3, 1), (3, 5, 2)):
        y = builder.conv(x, random.weights(after, before, 3, 3), None, stride=(stride, stride), padding=(1, 1))
        y = builder.relu(builder.affine(y, random.weights(after)[:, None, None], random.weights(after)[:, None, None]))
        y = builder.conv(y, random.weights(after, after, 3, 3), random.weights(after), padding=(1, 1))
        short = x
        if stride == 2:
            short = builder.rearrange(lambda t: functional.pad(t[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)), x)
        x = builder.relu(builder.add(Add((1, 1)), y, short))
    x = builder.add(Average(lambda t: t.mean((2, 3)), 9), x)
    builder.linear(x, random.weights(3, 5), random.weights(3))
    return builder.program()


def pooled(random: Random) -> Program:
    """Max pooling before and after a ReLU, two branches joined, a difference."""
    builder = Builder(SHAPE)
    x = builder.conv(builder.image, random.weights(3, 2, 3, 3), random.weights(3), padding=(1, 1))
    x = builder.relu(builder.max_pool(x, (3, 2), (2, 2)))
    a = builder.conv(x, random.weights(3, 3, 2, 2), random.weights(3), padding=(1, 1))
    b = builder.conv(x, random.weights(3, 3, 2, 2), None, padding=(1, 1))
    joined = builder.rearrange(lambda *parts: torch.cat(parts, 1), builder.add(Add((1, -1)), a, b), b)
    x = builder.max_pool(builder.relu(joined), (2, 2), (1, 1))
    x = builder.rearrange(lambda t: t.flatten(1), x)
    builder.linear(x, random.weights(3, builder.shape(x)[0]), random.weights(3))
    return builder.program()


KINDS: dict[str, Callable[[Random], Program]] = {"mlp": mlp, "conv": conv, "residual": residual, "pooled": pooled}


def balanced(program: Program, random: Random) -> Program:
    """The same with classes that are about equally strong, so that margins are small."""
    *steps, last = program.steps
    offset = program.forward(random.images(64, program.shapes[0])).mean(0).double()
    return Program((*steps, replace(last, op=replace(last.op, bias=last.op.bias - offset))), program.shapes)


def margins(program: Program, images: Tensor, labels: Tensor) -> Tensor:
    logits = program.forward(images)
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return logits.gather(1, labels[:, None])[:, 0] - other


def inside(random: Random, image: Tensor, radius: float, count: int) -> Tensor:
    """Images of the ball, half of them corners of it."""
    noise = 2 * torch.rand(count, *image.shape, generator=random.generator) - 1
    noise[::2] = noise[::2].sign()
    moved = (image + radius * noise).clamp(0, 1)
    return torch.where((moved - image).abs() > radius, image, moved)


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_of_the_ball_falls_below_any_bound(kind: str) -> None:
    for seed in range(6):
        random = Random(seed)
        program = KINDS[kind](random)
        images = random.images(4)
        labels = program.forward(images).argmax(1)
        radius = (0.002, 0.02, 0.1)[seed % 3]
        bounds = {method: margin_bounds(program, images, labels, radius, method) for method in METHODS}
        assert bool((bounds["crown"] >= bounds["ibp"]).all())
        for row, image in enumerate(images):
            tried = inside(random, image, radius, 400)
            least = margins(program, tried, labels[row].expand(len(tried))).min()
            for method in METHODS:
                assert bounds[method][row] <= least, (method, seed, row)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_proven_is_never_broken(kind: str) -> None:
    """Radii at which some images are proven and some are broken."""
    proven_at_all = broken_at_all = 0
    for seed in range(2):
        random = Random(100 + seed)
        program = balanced(KINDS[kind](random), random)
        images = random.images(12)
        labels = program.forward(images).argmax(1)
        for radius in (0.002, 0.05):
            proven = {method: margin_bounds(program, images, labels, radius, method) > 0 for method in METHODS}
            attacks = standard(steps=12, queries=0, targets=2)[:2]
            verdict = ensemble(program.forward, images, labels, Ball("Linf", radius), attacks)
            broken = verdict.broken_by >= 0
            assert not bool((proven["ibp"] & ~proven["crown"]).any())
            for method in METHODS:
                assert not bool((proven[method] & broken).any()), (method, seed, radius)
            proven_at_all += int(proven["crown"].sum())
            broken_at_all += int(broken.sum())
    assert proven_at_all
    assert broken_at_all


@pytest.mark.parametrize("method", METHODS)
def test_every_layers_bounds_hold_every_activation_as_computed_in_float32(method: str) -> None:
    for kind, build in KINDS.items():
        random = Random(7)
        program = build(random)
        image = random.images(1)
        known = ball(image, 0.05)
        found = interval_bounds(program, known) if method == "ibp" else layer_bounds(program, known, method, FLOAT32)
        tried = inside(random, image[0], 0.05, 200)
        values = [tried]
        for step in program.to(tried).steps:
            values.append(step.op.apply(*(values[place] for place in step.inputs)))
        for place, value in enumerate(values):
            assert bool((value.double() >= found.low[place]).all()), (kind, place)
            assert bool((value.double() <= found.high[place]).all()), (kind, place)


def test_rounding_of_float32_is_part_of_the_bound() -> None:
    """Two logits that are equal in exact arithmetic: whichever way float32 rounds, nothing is proven."""
    random = Random(3)
    weight = random.weights(1, 300, gain=300.0)
    builder = Builder((1, 10, 30))
    x = builder.rearrange(lambda t: t.flatten(1), builder.image)
    turned = torch.cat([weight, weight.flip(1)])
    x = builder.linear(x, turned.double())
    difference = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    builder.linear(x, difference)
    program = builder.program()
    half = random.images(64, (150,))
    images = torch.cat([half, half.flip(1)], 1).view(-1, 1, 10, 30)
    labels = program.forward(images).argmax(1)
    assert float(margins(program, images, labels).max()) > 0
    assert not bool((margin_bounds(program, images, labels, 0.0, "crown") > 0).any())
    exact = margin_bounds(program, images, labels, 0.0, "crown", unit=0)
    assert float(exact.abs().max()) < 1e-10


def exact_margin(program: Program, image: Tensor, label: int, radius: float) -> float:
    """The least margin of a small network with two hidden layers, by linear programs over all ReLU patterns."""
    layers = [step.op for step in program.steps if hasattr(step.op, "weight")]
    matrices = [(op.weight.numpy(), op.bias.numpy()) for op in layers]
    box = [(max(v - radius, 0.0), min(v + radius, 1.0)) for v in image.double().flatten().tolist()]
    hidden = [len(bias) for _, bias in matrices[:-1]]
    return min(_least(matrices, pattern, box, label) for pattern in itertools.product((0, 1), repeat=sum(hidden)))


def _least(matrices: list[tuple[np.ndarray, np.ndarray]], pattern: tuple[int, ...], box: list, label: int) -> float:
    weight, bias = np.eye(len(box)), np.zeros(len(box))
    rows, limits, used = [], [], 0
    for own, offset in matrices[:-1]:
        weight, bias = own @ weight, own @ bias + offset
        on = np.array(pattern[used : used + len(bias)])
        used += len(bias)
        sign = np.where(on == 1, -1.0, 1.0)
        rows.append(sign[:, None] * weight)
        limits.append(-sign * bias)
        weight, bias = weight * on[:, None], bias * on
    own, offset = matrices[-1]
    weight, bias = own @ weight, own @ bias + offset
    found = []
    for other in range(len(bias)):
        if other != label:
            solved = linprog(weight[label] - weight[other], np.vstack(rows), np.hstack(limits), bounds=box)
            if solved.status == 0:
                found.append(solved.fun + bias[label] - bias[other])
    return min(found, default=np.inf)


def small(random: Random) -> Program:
    builder = Builder((1, 1, 3))
    x = builder.rearrange(lambda t: t.flatten(1), builder.image)
    for wide, out in ((3, 3), (3, 3)):
        x = builder.relu(builder.linear(x, random.weights(out, wide), random.weights(out, gain=0.3)))
    builder.linear(x, random.weights(3, 3))
    return balanced(builder.program(), random)


def cases() -> Iterator[tuple[Program, Tensor, int]]:
    for seed in range(3):
        random = Random(seed)
        program, image = small(random), random.images(1, (1, 1, 3))
        yield program, image, int(program.forward(image).argmax(1))


def test_bounds_lie_below_the_exact_least_margin_and_reach_it_where_no_sign_is_open() -> None:
    gaps = []
    for program, image, label in cases():
        for radius in (1e-4, 0.2):
            exact = exact_margin(program, image[0], label, radius)
            for method in METHODS:
                bound = float(margin_bounds(program, image, torch.tensor([label]), radius, method))
                assert bound <= exact + 1e-9
                gaps.append((radius, method, exact - bound))
    assert max(gap for radius, method, gap in gaps if radius == 1e-4 and method != "ibp") < 1e-4


def test_linear_bounds_of_both_slopes_enclose_a_relu() -> None:
    builder = Builder((1, 1, 1))
    x = builder.rearrange(lambda t: t.flatten(1), builder.image)
    x = builder.linear(x, torch.tensor([[3.0]]), torch.tensor([-1.0]))
    x = builder.relu(x)
    builder.linear(x, torch.eye(1).repeat(2, 1))
    program = builder.program()
    known = interval_bounds(program, ball(torch.full((1, 1, 1, 1), 0.5), 0.5, 0), 0)
    rows = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    # x runs over [−1, 2]: CROWN takes x itself from below, the polytope ⅔ x; both ⅔ (x + 1) from above.
    assert lower(program, known, 4, rows, "crown").tolist() == [[-1.0, pytest.approx(-2.0)]]
    assert lower(program, known, 4, rows, "wong_kolter").tolist() == [[pytest.approx(-2 / 3), pytest.approx(-2.0)]]
