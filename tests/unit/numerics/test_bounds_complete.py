"""Complete verification: what bounds leave open is proven or broken, and counterexamples are real."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from test_bounds_soundness import KINDS, Random, balanced, exact_margin, small
from torch import Tensor, nn

from app.numerics.attacks.ensemble import ensemble, standard
from app.numerics.attacks.region import Ball
from app.numerics.bounds import complete as module
from app.numerics.bounds import query
from app.numerics.bounds.complete import NoVerifier, complete, unavailable
from app.numerics.bounds.margins import margin_bounds
from app.numerics.bounds.program import Builder, Program

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable())


def digits(*, robust: bool) -> tuple[Program, Tensor, Tensor]:
    """A network 64-32-32-10 on the digits, trained for a second, and 16 images that it gets right."""
    torch.manual_seed(0)
    data = load_digits()
    images, labels = torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)
    sizes = (64, 32, 32, 10)
    parts = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    network = nn.Sequential(nn.Flatten(), parts[0], nn.ReLU(), parts[1], nn.ReLU(), parts[2])
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(300):
        rows = torch.randint(0, 1300, (100,))
        x = images[rows]
        if robust:
            x.requires_grad_()
            (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(x), labels[rows]), x)
            x = (x.detach() + 0.1 * gradient.sign()).clamp(0, 1)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), labels[rows]).backward()
        optimiser.step()
    builder = Builder((1, 8, 8))
    x = builder.rearrange(lambda t: t.flatten(1), builder.image)
    for place, part in enumerate(parts):
        x = builder.linear(x, part.weight.detach(), part.bias.detach())
        x = builder.relu(x) if place < 2 else x
    program = builder.program()
    right = (program.forward(images).argmax(1) == labels).nonzero()[:, 0]
    right = right[right >= 1300][:16]
    return program, images[right], labels[right]


@pytest.mark.parametrize("robust", [pytest.param(False, marks=pytest.mark.long), True], ids=["standard", "robust"])
def test_a_digits_network_is_decided_and_agrees_with_attacks_and_bounds(robust: bool) -> None:
    program, images, labels = digits(robust=robust)
    ball = Ball("Linf", 0.1)
    answers = [complete(program, image, int(label), 0.1, 10.0) for image, label in zip(images, labels, strict=True)]
    assert Counter(answer.status for answer in answers).keys() <= {"proven", "broken"}
    proven = torch.tensor([answer.status == "proven" for answer in answers])
    by_bounds = margin_bounds(program, images, labels, 0.1, "crown") > 0
    attacks = standard(steps=15, queries=0, targets=3)[:2]
    broken = ensemble(program.forward, images, labels, ball, attacks).broken_by >= 0
    assert not bool((by_bounds & ~proven).any())
    assert not bool((broken & proven).any())
    assert int(by_bounds.sum()) < int(proven.sum()) < len(proven)
    assert int((~broken & ~proven).sum()) <= 2
    for answer, image, label in zip(answers, images, labels, strict=True):
        if answer.counterexample is not None:
            found = answer.counterexample
            assert float((found.double() - image.double()).abs().max()) <= 0.1
            assert bool(((found >= 0) & (found <= 1)).all())
            assert int(program.forward(found[None]).argmax()) != int(label)


def test_the_answer_is_that_of_linear_programs_over_all_patterns() -> None:
    seen = set()
    for seed in range(3):
        random = Random(seed)
        program, image = small(random), random.images(1, (1, 1, 3))
        label = int(program.forward(image).argmax(1))
        for radius in (0.02, 0.15, 0.4):
            exact = exact_margin(program, image[0], label, radius)
            if abs(exact) > 1e-3:
                status = complete(program, image[0], label, radius, 10.0).status
                assert status == ("proven" if exact > 0 else "broken")
                seen.add(status)
    assert seen == {"proven", "broken"}


@pytest.mark.parametrize("kind", ["residual", "pooled"])
def test_sums_and_maxima_are_verified_too(kind: str) -> None:
    statuses = Counter()
    for seed in range(2):
        random = Random(seed)
        program = balanced(KINDS[kind](random), random)
        images = random.images(2)
        labels = program.forward(images).argmax(1)
        for radius in (0.003, 0.04):
            attacks = standard(steps=10, queries=0)[:1]
            broken = ensemble(program.forward, images, labels, Ball("Linf", radius), attacks).broken_by >= 0
            for row, image in enumerate(images):
                answer = complete(program, image, int(labels[row]), radius, 1.0)
                assert not (answer.status == "proven" and bool(broken[row]))
                statuses[answer.status] += 1
    assert statuses["proven"]
    assert statuses["broken"]


def test_no_time_and_too_many_open_signs_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    program, images, labels = digits(robust=False)
    undecided = int((margin_bounds(program, images, labels, 0.1, "crown") <= 0).nonzero()[0])
    given = (program, images[undecided], int(labels[undecided]), 0.1)
    assert complete(*given, 0.0).status == "timeout"
    monkeypatch.setattr(query, "MAX_OPEN", 3)
    assert complete(*given, 10.0).status == "too_large"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NoVerifier, match=r"maraboupy.*3\.11"):
        complete(small(Random(0)), torch.zeros(1, 1, 3), 0, 0.1, 1.0)
