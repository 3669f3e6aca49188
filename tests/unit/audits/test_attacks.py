"""The kind `attacks` without a worker: parameters, what a shard finds, what is summed up, and whom to believe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from app.audits.attacks.budgets import EFFORTS, passes, sampled
from app.audits.attacks.kept import WORST
from app.audits.attacks.measure import measure
from app.audits.attacks.schema import NAMES, SQUARE, AttacksSummary, Params, unfit
from app.audits.attacks.summarise import summarise
from app.audits.attacks.words import sentences
from app.audits.attacks.worst import first_column, worst_places
from app.audits.epsilon import radius
from app.audits.pixels import PixelNetwork, PixelShard
from tests.unit.audits.pixel_shards import ever_surer, pixel_shard, stage_inputs
from tests.unit.audits.planted_inputs import planted_inputs

PARAMS = Params.model_validate({"radii": ["1/10", "0.02"], "budget": "quick"})
ROWS = 24


def brightest(x: Tensor) -> Tensor:
    """Three classes by the brightest channel."""
    return 20 * x.mean(dim=(2, 3))


def network(forward: Any = brightest, **changes: Any) -> PixelNetwork:
    return replace(PixelNetwork(forward, channels=3), **changes)


def shard(start: int = 0, rows: int = ROWS, net: PixelNetwork | None = None, **changes: Any) -> PixelShard:
    given = {"network": lambda: net or network()} | changes
    return pixel_shard(ever_surer(ROWS, 8), np.arange(ROWS) % 3, start, rows, PARAMS, **given)


def summed(found: dict[str, np.ndarray], params: Params = PARAMS) -> tuple[AttacksSummary, dict[str, Any]]:
    result = summarise(stage_inputs("attack", found, np.arange(ROWS) % 3, params))
    return AttacksSummary.model_validate(result.summary), dict(result.details)


def signs(net: PixelNetwork) -> dict[str, tuple[bool, str]]:
    summary, _ = summed(measure(shard(net=net)))
    return {sign.title: (sign.ok, sign.text) for sign in summary.signs}


def test_radii_are_numbers_or_fractions_by_size() -> None:
    assert Params.model_validate({"radii": [" 8/255", "1e-2", "8/255", "0,5"]}).radii == ["1e-2", "8/255", "0,5"]
    assert Params.model_validate({"radii": ["1/2", "0.5", ".25"]}).radii == [".25", "1/2"]
    assert radius("8/255") == pytest.approx(8 / 255)
    assert radius("0,5 / 255") == pytest.approx(0.5 / 255)


def test_an_l2_epsilon_beyond_any_image_of_that_size_is_refused() -> None:
    assert unfit(Params(radii=["48"], norm="L2"), 28, 28) == {}
    assert "farther than 48.5 from each other in L2" in unfit(Params(radii=["0.5", "49"], norm="L2"), 28, 28)["radii"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"radii": ["8"]}, "write 8/255"),
        ({"radii": ["eight"]}, "write ε like 8/255"),
        ({"radii": ["0"]}, "not positive"),
        ({"radii": ["1/0"]}, "no number"),
        ({"radii": ["1e400"]}, "no number"),
        ({"radii": ["1e99999999"]}, "no number"),
        ({"radii": []}, "one to 5 values"),
        ({"radii": [f"{i}/255" for i in range(1, 7)]}, "there are 6"),
        ({"radii": ["200"], "norm": "L2"}, "beyond the range"),
    ],
)
def test_radii_that_make_no_sense_are_refused_in_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Params.model_validate(given)


def test_a_draw_is_the_same_for_every_shard_and_grows_with_the_budget() -> None:
    quick, standard = (sampled((100, 5100), 3, budget) for budget in ("quick", "standard"))
    assert (len(quick), len(standard)) == (EFFORTS["quick"].rows, EFFORTS["standard"].rows)
    assert np.array_equal(quick, standard[: len(quick)])
    assert quick.min() >= 100


def test_shards_find_what_one_shard_finds() -> None:
    whole, first, second = measure(shard()), measure(shard(0, 10)), measure(shard(10, ROWS - 10))
    for name in ("list.row", "list.outcome", "list.by", "list.taken", "list.signs"):
        assert np.array_equal(np.concatenate([first[name], second[name]]), whole[name]), name
    assert whole["list.row"].tolist() == list(range(ROWS))
    gap = 5 * np.arange(ROWS) / 255 / 2
    sure = np.abs(gap[:, None] / np.array([0.02, 0.1]) - 1) > 0.3
    right = gap[:, None] > np.array([0.02, 0.1])
    assert (whole["list.outcome"][:, 1:] == right)[sure].all(), "half the distance to the next channel is the radius"


def test_images_without_a_label_or_outside_the_draw_are_not_asked() -> None:
    labels = np.arange(ROWS) % 3
    labels[4] = -1
    assert measure(shard(labels=labels))["list.row"].tolist() == [row for row in range(ROWS) if row != 4]
    many = measure(shard(split=(0, 4000)))
    assert set(many["list.row"].tolist()) == set(sampled((0, 4000), 0, "quick").tolist()) & set(range(ROWS))


def test_the_summary_counts_and_keeps_pictures_of_the_worst() -> None:
    found = measure(shard())
    summary, details = summed(found)
    outcome = details["outcome"]
    assert [level.robust.value for level in summary.levels] == pytest.approx(outcome[:, 1:].mean(axis=0))
    assert [level.radius for level in summary.levels] == [0.02, 0.1]
    assert sum(summary.levels[1].broken_by.values()) == int((details["by"][:, 1] >= 0).sum())
    assert summary.of_classes == 3
    assert [row.robust.n for row in summary.classes] == [8, 8, 8]
    worst = details["positions"][worst_places(outcome, details["margin"])]
    kept = {int(position) for position, _ in details["pictures.of"]}
    assert kept <= set(worst.tolist())
    assert 0 < len(kept) <= WORST
    assert int(worst[0]) in kept
    said = " ".join(sentences(summary))
    assert "leaves out targeted FAB" in said
    assert "not proven" in said


def test_worst_are_the_smallest_radius_first_then_the_surest_mistake() -> None:
    outcome = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0]], np.int8)
    margin = np.array([[1, 1, -9], [1, -1, -1], [-1, -1, -1], [1, 1, 1], [1, -2, -2]], np.float32)
    assert first_column(outcome).tolist() == [2, 1, 0, -1, 1]
    assert worst_places(outcome, margin).tolist() == [4, 1, 0]


def test_an_ordinary_network_raises_no_doubt() -> None:
    found = signs(network())
    assert all(ok for ok, _ in found.values()), found
    assert set(found) >= {"Gradients", "A large ε breaks everything", "Gradients lead further than guessing"}


def test_a_step_function_has_no_gradients_and_guessing_beats_them() -> None:
    found = signs(network(lambda x: brightest((x * 51).round() / 51)))
    assert not found["Gradients of zero"][0]
    assert not found["Guessing beats gradients"][0]
    assert not found["A large ε does not reach 0 %"][0]
    assert "of 23 images" in found["Gradients of zero"][1]


def test_probabilities_and_random_outputs_are_noticed() -> None:
    softmax = signs(network(lambda x: brightest(x).softmax(1)))
    assert not softmax["Probabilities where logits are expected"][0]
    draw = torch.Generator().manual_seed(0)
    noisy = signs(network(lambda x: brightest(x) + 0.2 * torch.randn(len(x), 3, generator=draw)))
    assert not noisy["Random outputs"][0]


def test_without_gradients_square_alone_runs_and_the_page_says_so() -> None:
    found = measure(shard(net=network(lambda x: brightest(x).detach(), reason="A torchscript model gives none.")))
    summary, details = summed(found)
    assert summary.no_gradients == "A torchscript model gives none."
    assert (details["by"] == SQUARE).any()
    assert not np.isin(details["by"], range(SQUARE)).any()
    assert "upper bounds" in " ".join(sentences(summary))
    assert list(summary.levels[1].broken_by) == [NAMES[SQUARE]]


def test_another_normalisation_that_fits_better_is_named() -> None:
    others = {"no normalisation (values 0–1)": brightest, "mean and std 0.5": lambda x: brightest(1 - x)}
    found = signs(network(lambda x: brightest(x.flip(1)), others=others))
    ok, text = found["Another normalisation fits better"]
    assert not ok
    assert "With “no normalisation (values 0–1)” the model is right on 23 of 24" in text
    assert signs(network(others=others))["Normalisation"][0]


def test_the_cost_is_known_before_the_start() -> None:
    assert passes(PARAMS, 10_000) == 100 * 2 * (3 * 40 * 4 + 300)
    assert passes(PARAMS, 10) == passes(PARAMS, 10_000) // 10
    standard = Params.model_validate({"budget": "standard"})
    assert passes(standard, 10_000) == 500 * (3 * 100 * 10 + 4 * 100 * 9 + 5000)


def test_grey_networks_are_attacked_in_one_channel() -> None:
    net = PixelNetwork(lambda x: torch.cat([x.mean((2, 3)) - 0.45, 0.45 - x.mean((2, 3))], 1) * 9, channels=1)
    found = measure(shard(net=net, labels=np.zeros(ROWS, np.int64)))
    assert found["list.size"].tolist() == [[8, 8, 1]]
    assert found["list.taken"].max() == 1


def test_an_epsilon_without_meaning_is_said_to_be_so() -> None:
    params = Params.model_validate({"radii": ["0.6"]})
    summary, _ = summed(measure(shard(params=params.model_dump())), params)
    assert summary.levels[0].robust.value == 0
    assert any("beyond what has a meaning" in sign.title and not sign.ok for sign in summary.signs)


def test_nothing_to_attack_is_said() -> None:
    base = planted_inputs(rows=1)
    without = summarise(replace(base, params=PARAMS, audited=replace(base.audited, model={})))
    assert "no network to show" in without.summary["unavailable"]
    summary, _ = summed(measure(shard(labels=np.full(ROWS, -1))))
    assert "has a label" in summary.unavailable
