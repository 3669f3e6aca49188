"""Proof first in the kind `attacks`: what is proven needs no dear attack, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.audits.attacks.budgets import EFFORTS
from app.audits.attacks.measure import measure
from app.audits.attacks.page_image import _happened, _sentence
from app.audits.attacks.proofs import Proofs
from app.audits.attacks.schema import NAMES, PROVEN, SQUARE, UNBROKEN, WRONG
from app.audits.attacks.words import sentences
from app.audits.pixels import PixelNetwork
from app.numerics.attacks.region import Ball
from app.numerics.bounds.margins import margin_bounds
from app.numerics.bounds.program import Builder, Program
from tests.unit.audits.test_attacks import ROWS, brightest, network, shard, summed


def program() -> Program:
    """`brightest` as proofs read it, behind a ReLU that never bends."""
    builder = Builder((3, 8, 8))
    place = builder.rearrange(lambda x: x.flatten(1), builder.image)
    place = builder.relu(builder.linear(place, torch.eye(3).repeat_interleave(64, 1) * 20 / 64))
    builder.linear(place, torch.eye(3))
    return builder.program()


def provable(**changes: Any) -> PixelNetwork:
    read = program()
    return network(**({"program": lambda: read} | changes))


@pytest.fixture(scope="module")
def without() -> dict[str, np.ndarray]:
    return measure(shard())


@pytest.fixture(scope="module")
def first() -> dict[str, np.ndarray]:
    return measure(shard(net=provable()))


def test_outcomes_are_those_of_attacks_alone(without: dict[str, np.ndarray], first: dict[str, np.ndarray]) -> None:
    for name in ("list.row", "list.outcome", "list.signs", "list.size"):
        assert np.array_equal(first[name], without[name]), name
    broken = without["list.outcome"][:, 1:] == 0
    assert np.array_equal(first["list.by"][broken], without["list.by"][broken])
    assert np.array_equal(first["list.taken"][:, 1:][broken], without["list.taken"][:, 1:][broken])
    assert np.allclose(first["list.margin"][:, 1:][broken], without["list.margin"][:, 1:][broken])


def test_what_is_proven_has_a_place_of_its_own_and_is_right(first: dict[str, np.ndarray]) -> None:
    proven = first["list.by"] == PROVEN
    assert proven.any(axis=0).all(), "at each ε"
    assert (first["list.outcome"][:, 1:][proven] == 1).all()
    gap = 5 * np.arange(ROWS) / 255 / 2
    clear = gap[:, None] > np.array([0.02, 0.1]) * 1.5
    assert proven[clear].all()


def test_dear_attacks_are_spared_what_is_proven() -> None:
    asked = {"with": 0, "without": 0}

    def counting(name: str) -> Any:
        def forward(x: torch.Tensor) -> torch.Tensor:
            asked[name] += len(x)
            return brightest(x)

        return forward

    measure(shard(net=provable(forward=counting("with"))))
    measure(shard(net=network(counting("without"))))
    assert asked["with"] < 0.5 * asked["without"]


def test_the_summary_and_its_sentences_say_what_is_proven(first: dict[str, np.ndarray]) -> None:
    summary, details = summed(first)
    counts = [int((details["by"][:, column] == PROVEN).sum()) for column in range(2)]
    assert [level.proven for level in summary.levels] == counts
    sign = next(sign for sign in summary.signs if sign.title == "Proven")
    assert f"{counts[0]:,} at ε = 0.02, {counts[1]:,} at ε = 1/10" in sign.text
    assert f"Up to {max(counts):,} images are proven to withstand" in " ".join(sentences(summary))
    assert all(sign.ok for sign in summary.signs)
    assert PROVEN not in (WRONG, UNBROKEN, *range(len(NAMES)))


def test_an_image_that_is_proven_says_so(first: dict[str, np.ndarray]) -> None:
    summary, details = summed(first)
    place = int((details["by"][:, -1] == PROVEN).argmax())
    assert _sentence(place, details, summary) == "Proven: no change of up to L∞ ε = 1/10 makes the model wrong."
    reader: Any = None
    assert _happened(place, 1, details, reader) == "proven to withstand every attack"
    smaller = np.flatnonzero((details["by"][:, 0] == PROVEN) & (details["by"][:, 1] == UNBROKEN))
    assert all("That is no proof" in _sentence(int(other), details, summary) for other in smaller)


def test_another_network_than_the_one_attacked_proves_nothing() -> None:
    found = measure(shard(net=provable(forward=lambda x: 1.1 * brightest(x))))
    assert not (found["list.by"] == PROVEN).any()


def test_without_gradients_proofs_stand_before_square_s_rivals() -> None:
    net = provable(forward=lambda x: brightest(x).detach(), reason="none")
    found = measure(shard(net=net))
    assert set(np.unique(found["list.by"])) <= {SQUARE, UNBROKEN, WRONG, PROVEN}
    assert (found["list.by"] == PROVEN).any()


def test_nothing_is_proven_in_l2_and_what_was_open_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.full((3, 3, 8, 8), 0.4)
    images[range(3), range(3)] += torch.tensor([0.01, 0.1, 0.3])[:, None, None]
    made = Proofs(provable(), images, torch.arange(3), EFFORTS["quick"])
    every = torch.arange(3)
    assert not made.prove(every, Ball("L2", 0.01)).any()
    assert made.prove(every, Ball("Linf", 0.03)).tolist() == [False, True, True]
    asked: list[int] = []

    def counting(*given: Any) -> torch.Tensor:
        asked.append(len(given[1]))
        return margin_bounds(*given)

    monkeypatch.setattr("app.audits.attacks.proofs.margin_bounds", counting)
    assert made.prove(every, Ball("Linf", 0.1)).tolist() == [False, False, True]
    assert asked[0] == 2, "the first was not proven at a smaller ε"


def test_crown_is_left_out_where_it_costs_more_than_the_attacks_it_saves() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    cheap = replace(EFFORTS["quick"], steps=0, queries=-1)
    assert Proofs(provable(), images, torch.zeros(2, dtype=torch.long), EFFORTS["quick"])._crown
    assert not Proofs(provable(), images, torch.zeros(2, dtype=torch.long), cheap)._crown
