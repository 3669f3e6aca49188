"""The kind `certificates` without a worker: what a shard proves and breaks, what is summed up and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from app.audits.attacks.budgets import sampled
from app.audits.base import Inputs
from app.audits.certificates.budgets import EFFORTS, chosen, passes
from app.audits.certificates.evidence import CROWN, IBP, Evidence
from app.audits.certificates.measure import measure
from app.audits.certificates.schema import (
    BROKEN,
    FIRST_ATTACK,
    FIRST_BOUND,
    OPEN,
    PGD,
    PROVEN,
    STEPS,
    WRONG,
    CertificatesSummary,
    Params,
)
from app.audits.certificates.summarise import summarise
from app.audits.certificates.words import doubt, sentences
from app.audits.pixels import NotProvable, PixelNetwork, PixelShard
from app.errors import UserError
from app.numerics.bounds.program import Builder, Program
from tests.unit.audits.pixel_shards import pixel_shard, stage_inputs

PARAMS = Params.model_validate({"radii": ["1/10", "0.02"], "budget": "quick"})
RADII = np.array([0.02, 0.1])
ROWS, SIDE = 24, 4


def mean_program(bend: bool = True) -> Program:
    """Three classes by the brightest channel, through a ReLU that never bends within pixels' range."""
    builder = Builder((3, SIDE, SIDE))
    place = builder.rearrange(lambda x: x.flatten(1), builder.image)
    weight = torch.eye(3).repeat_interleave(SIDE * SIDE, 1) * 20 / SIDE**2
    place = builder.linear(place, weight)
    if bend:
        place = builder.linear(builder.relu(place), torch.eye(3))
    return builder.program()


def network(read: Program | None = None, **changes: Any) -> PixelNetwork:
    found = read or mean_program()
    return replace(PixelNetwork(found.forward, channels=3, program=lambda: found), **changes)


def pixels() -> np.ndarray:
    """The label's channel is brighter than the others by 5/255 more with each image."""
    images = np.full((ROWS, 3, SIDE, SIDE), 100, np.uint8)
    images[np.arange(ROWS), np.arange(ROWS) % 3] += np.arange(0, 5 * ROWS, 5, dtype=np.uint8)[:, None, None]
    return images


def shard(start: int = 0, rows: int = ROWS, net: PixelNetwork | None = None, **changes: Any) -> PixelShard:
    given = {"network": lambda: net or network()} | changes
    return pixel_shard(pixels(), np.arange(ROWS) % 3, start, rows, PARAMS, **given)


def inputs(found: dict[str, np.ndarray], params: Params = PARAMS) -> Inputs:
    names = [f"picture-{row}.png" for row in range(ROWS)]
    return stage_inputs("prove", found, np.arange(ROWS) % 3, params, example_id=names)


def summed(found: dict[str, np.ndarray], params: Params = PARAMS) -> tuple[CertificatesSummary, dict[str, Any]]:
    result = summarise(inputs(found, params))
    return CertificatesSummary.model_validate(result.summary), dict(result.details)


@pytest.fixture(scope="module")
def measured() -> dict[str, np.ndarray]:
    return measure(shard())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"radii": ["8"]}, "write 8/255"),
        ({"radii": ["eight"]}, "write ε like 8/255"),
        ({"radii": []}, "one to 5 values"),
        ({"images": -1}, "greater than or equal to 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_in_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Params.model_validate(given)


def test_the_draw_is_that_of_attacks_and_may_be_larger() -> None:
    params = {"radii": ["0.1"], "budget": "quick"}
    assert np.array_equal(chosen((100, 5100), 3, params), sampled((100, 5100), 3, "quick"))
    more = chosen((100, 5100), 3, params | {"images": 700})
    assert np.array_equal(more[:500], sampled((100, 5100), 3, "standard"))
    assert len(more) == 700


def test_the_cost_is_known_before_the_start() -> None:
    assert passes(PARAMS, 10) * 10 == passes(PARAMS, 10_000) == 100 * 2 * (3 * 21 + 1000)
    dear = Params.model_validate({"radii": ["0.1"], "budget": "standard", "images": 7})
    ensemble, halvings = 3 * 100 * 10 + 4 * 100 * 9 + 5000, EFFORTS["standard"].halvings
    assert passes(dear, 10_000) == 7 * (3 * 41 + 1000 + ensemble + 1000 * halvings)


def test_what_is_proven_and_broken_is_what_the_gap_between_channels_says(measured: dict[str, np.ndarray]) -> None:
    evidence = Evidence.of({name.removeprefix("list."): array for name, array in measured.items()})
    gap = 5 * np.arange(ROWS) / 255 / 2
    sure = np.abs(gap[:, None] / RADII - 1) > 0.02
    sure &= (np.arange(ROWS) > 0)[:, None]
    assert (evidence.state()[sure] == np.where(gap[:, None] > RADII, PROVEN, BROKEN)[sure]).all()
    assert evidence.right[0]
    by = evidence.by()
    assert set(by[evidence.state() == PROVEN]) == {FIRST_BOUND + IBP}, "a linear network is proven by intervals"
    assert set(by[evidence.state() == BROKEN]) == {PGD}
    assert np.isfinite(evidence.bounds[:, :, CROWN]).any(), "what intervals prove is asked again"


def test_the_certified_radius_is_half_the_gap_rounded_down(
    measured: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    gap = np.minimum(5 * np.arange(ROWS) / 255 / 2, 0.2)
    assert np.isnan(measured["list.radius"]).all(), "the quick budget does not look for radii"
    monkeypatch.setitem(EFFORTS, "quick", replace(EFFORTS["quick"], halvings=4))
    result = measure(shard())
    found = result["list.radius"]
    assert (found <= gap + 1e-6).all()
    width = np.where(gap < 0.02, 0.02, np.where(gap < 0.1, 0.08, 0.1)) / 2**4
    assert (found >= gap - width - 1e-4).all()
    summary, details = summed(result)
    assert summary.curve[0].share.value == pytest.approx((details["radius"] > 0).mean())
    assert [point.share.value for point in summary.curve] == sorted(
        (p.share.value for p in summary.curve), reverse=True
    )
    assert summary.median == pytest.approx(float(np.median(found)))


def test_shards_find_what_one_shard_finds(measured: dict[str, np.ndarray]) -> None:
    first, second = measure(shard(0, 10)), measure(shard(10, ROWS - 10))
    for name in ("list.row", "list.right", "list.found", "list.complete", "list.taken"):
        assert np.array_equal(np.concatenate([first[name], second[name]]), measured[name]), name
    bounds = np.concatenate([first["list.bounds"], second["list.bounds"]])
    assert np.allclose(bounds, measured["list.bounds"], equal_nan=True, atol=1e-5)


def test_the_summary_is_a_bracket_with_what_decided_it(measured: dict[str, np.ndarray]) -> None:
    summary, details = summed(measured)
    state, by = details["state"], details["by"]
    assert [level.radius for level in summary.levels] == RADII.tolist()
    for column, level in enumerate(summary.levels):
        assert level.bracket.proven.value == pytest.approx((state[:, column] == PROVEN).mean())
        assert level.bracket.unbroken.value == pytest.approx((state[:, column] != BROKEN).mean())
        assert level.bracket.undecided == int((state[:, column] == OPEN).sum())
        assert level.bracket.proven.low is not None
        assert level.bracket.proven.low < level.bracket.proven.value
    steps = {step.name: step for step in summary.steps}
    assert steps[STEPS[PGD]].broken == [int((by[:, c] == PGD).sum()) for c in range(2)]
    assert sum(steps[STEPS[FIRST_BOUND]].proven) == int((by == FIRST_BOUND).sum()) > 0
    assert steps[STEPS[PGD]].passes > steps[STEPS[PGD]].asked
    assert summary.of_classes == len(summary.classes) == 3
    assert summary.shown == 1
    assert (summary.curve, summary.median) == ([], None)
    assert details["pictures.of"].shape[0] % 3 == 0
    assert len(details["pictures.of"]) > 0
    assert doubt(summary) == ""
    assert "leaves out each image’s own proven radius, and complete verification" in " ".join(sentences(summary))


def test_scores_are_the_shares_of_epsilon(measured: dict[str, np.ndarray]) -> None:
    result = summarise(inputs(measured))
    proven, unbroken = (column.values for column in result.scores)
    state = result.details["state"]
    assert np.allclose(proven, (state == PROVEN).mean(axis=1))
    assert np.allclose(unbroken, (state != BROKEN).mean(axis=1))


def test_images_without_a_label_or_outside_the_draw_are_not_asked() -> None:
    labels = np.arange(ROWS) % 3
    labels[4] = -1
    assert measure(shard(labels=labels))["list.row"].tolist() == [row for row in range(ROWS) if row != 4]
    few = PARAMS.model_copy(update={"images": 5}).model_dump()
    assert set(measure(shard(params=few))["list.row"].tolist()) == set(chosen((0, ROWS), 0, few).tolist())


def test_a_network_that_cannot_be_followed_is_attacked_and_says_which_layer() -> None:
    def refuses() -> Program:
        raise NotProvable("Proofs cannot pass the layer “gelu”.")

    summary, details = summed(measure(shard(net=network(program=refuses))))
    assert summary.not_provable == "Proofs cannot pass the layer “gelu”."
    assert set(np.unique(details["state"])) == {BROKEN, OPEN}
    assert "Proofs cannot pass the layer “gelu”" in doubt(summary)
    assert "randomised smoothing" in doubt(summary)
    assert (summary.curve, summary.median) == ([], None)


def test_without_gradients_square_breaks_and_bounds_prove() -> None:
    program = mean_program()
    net = network(program, forward=lambda x: program.forward(x).detach(), reason="A torchscript model gives none.")
    summary, details = summed(measure(shard(net=net)))
    assert set(np.unique(details["by"][details["state"] == BROKEN])) <= {len(STEPS) - 1}
    assert (details["state"] == PROVEN).any()
    assert "Of the attacks only Square ran" in " ".join(sentences(summary))


def test_random_outputs_are_not_proven() -> None:
    draw = torch.Generator().manual_seed(0)
    program = mean_program()
    noisy = network(program, forward=lambda x: program.forward(x) + 0.2 * torch.randn(len(x), 3, generator=draw))
    summary, _ = summed(measure(shard(net=noisy)))
    assert "gives other logits when the same image is shown again" in summary.not_provable


def test_probabilities_are_proven_through_their_logits() -> None:
    program = mean_program()
    net = network(program, forward=lambda x: program.forward(x).log_softmax(1), probabilities=True)
    summary, details = summed(measure(shard(net=net)))
    assert (details["state"] == PROVEN).any()
    assert "The model gives probabilities" in " ".join(sentences(summary))


def test_an_ordinary_network_for_which_nothing_is_proven_says_that_this_is_normal() -> None:
    params = PARAMS.model_copy(update={"radii": ["0.45"]})
    summary, _ = summed(measure(shard(params=params.model_dump())), params)
    assert summary.levels[0].bracket.proven.value == 0
    assert "was not trained for it, which is normal for ordinary networks" in doubt(summary)
    assert doubt(summary.model_copy(update={"left_out": "CROWN was not asked."})).endswith("CROWN was not asked.")


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_work(classes: int) -> None:
    builder = Builder((3, SIDE, SIDE))
    place = builder.rearrange(lambda x: x.flatten(1), builder.image)
    builder.linear(place, torch.eye(3).repeat_interleave(SIDE * SIDE, 1)[:classes])
    found = measure(shard(net=network(builder.program()), labels=np.arange(ROWS) % classes))
    assert found["list.right"].any()


def test_a_large_network_gets_interval_bounds_alone_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EFFORTS, "quick", replace(EFFORTS["quick"], coefficients=-1))
    summary, details = summed(measure(shard()))
    assert np.isnan(details["bounds"][:, :, CROWN]).all()
    assert "Only interval bounds were asked" in " ".join(sentences(summary))


def test_an_image_that_is_proven_and_broken_ends_the_run_with_its_name(measured: dict[str, np.ndarray]) -> None:
    lying = {name: array.copy() for name, array in measured.items()}
    lying["list.bounds"][9, 1] = [np.nan, 1.0, np.nan]
    lying["list.bounds"][9, 0] = np.nan
    lying["list.found"][9, 0] = PGD
    said = r"“picture-9.png” \(row 9\) at ε = 0.02: it is proven by CROWN, and PGD found a change"
    with pytest.raises(UserError, match=said):
        summarise(inputs(lying, PARAMS))


def test_what_intervals_prove_and_crown_does_not_ends_the_run(measured: dict[str, np.ndarray]) -> None:
    lying = {name: array.copy() for name, array in measured.items()}
    lying["list.bounds"][-1, 1, [IBP, CROWN]] = [0.5, -0.1]
    said = r"“picture-23.png” .* ε = 1/10: it is proven by interval bounds, and not by CROWN"
    with pytest.raises(UserError, match=said):
        summarise(inputs(lying))


def test_a_network_that_is_read_wrongly_ends_the_run() -> None:
    def other(x: Tensor) -> Tensor:
        return mean_program().forward(x) * 1.01

    found = measure(shard(net=network(forward=other)))
    with pytest.raises(UserError, match="gives other logits for image “picture-"):
        summarise(inputs(found))


def test_nothing_to_prove_is_said() -> None:
    assert "no network of which anything" in summarise(inputs({})).summary["unavailable"]
    summary, _ = summed(measure(shard(labels=np.full(ROWS, -1))))
    assert "has a label" in summary.unavailable


def test_evidence_goes_down_for_proofs_and_up_for_attacks() -> None:
    evidence = Evidence.nothing(4, 3)
    evidence.right[:3] = True
    evidence.bounds[0, 1, CROWN] = 0.1
    evidence.found[0, 2] = FIRST_ATTACK
    evidence.found[1, 0] = PGD
    evidence.complete[2, 2] = 1
    assert evidence.state().tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
    crown = FIRST_BOUND + CROWN
    assert evidence.by().tolist() == [[crown, crown, FIRST_ATTACK], [PGD] * 3, [4] * 3, [WRONG] * 3]
    assert evidence.undecided(1).tolist() == []
