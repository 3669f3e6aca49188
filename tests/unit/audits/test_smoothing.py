"""The kind `smoothing` without a worker: parameters, what a shard finds, what is summed up, and what is said."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import norm
from torch import Tensor

from app.audits.base import Inputs, Split
from app.audits.drawn import drawn
from app.audits.pixels import PixelNetwork, PixelShard
from app.audits.retraining import TrainedNetwork
from app.audits.smoothing.budgets import EFFORTS, networks, passes
from app.audits.smoothing.copies import plan
from app.audits.smoothing.measure import measure, measure_copy
from app.audits.smoothing.page_curve import HEIGHT, chart
from app.audits.smoothing.reach import COPIES, reach
from app.audits.smoothing.schema import ARRAYS, Params, SmoothingSummary, amount
from app.audits.smoothing.summarise import summarise
from app.audits.smoothing.words import plain, sentences
from app.numerics.smoothing.radius import farthest_radius
from tests.unit.audits.pixel_shards import pixel_shard, stage_inputs

ROWS = 24
FULL = Params.model_validate({"sigmas": ["0.25"], "radii": ["0.1"], "budget": "standard"})
PARAMS = Params.model_validate({"sigmas": ["0.25", "0.1"], "radii": ["0.05", "0.1", "0.15"], "budget": "quick"})


def one_pixel(x: Tensor) -> Tensor:
    """Two classes on either side of .5 in one pixel: the exact radius is the distance to it."""
    return torch.stack([0.5 - x[:, 0, 1, 2], x[:, 0, 1, 2] - 0.5], dim=1)


PIXELS = np.random.default_rng(1).integers(0, 256, (ROWS, 3, 4, 4), dtype=np.uint8)
PIXELS[:, 0, 1, 2] = np.round(255 * (0.5 + 0.45 * np.linspace(-1, 1, ROWS)))
DISTANCE = np.abs(PIXELS[:, 0, 1, 2] / 255 - 0.5)
LABELS = (PIXELS[:, 0, 1, 2] > 127).astype(np.int64)


def shard(start: int = 0, rows: int = ROWS, params: Params = PARAMS, **changes: Any) -> PixelShard:
    given = {"network": lambda: PixelNetwork(one_pixel, channels=3)} | changes
    return pixel_shard(PIXELS, LABELS, start, rows, params, **given)


def inputs(found: dict[str, np.ndarray], params: Params, earlier: dict[str, Path] | None = None) -> Inputs:
    made = stage_inputs("smooth", found, LABELS, params, ("low", "high"))
    return replace(made, train=Split("train", made.audited.manifest, None, None, None), earlier=earlier or {})


@cache
def quick() -> dict[str, np.ndarray]:
    """What a quick audit finds of all images."""
    return measure(shard())


@cache
def full() -> dict[str, np.ndarray]:
    """What ten thousand copies find."""
    return measure(shard(params=FULL))


def summed(found: dict[str, np.ndarray], params: Params = PARAMS, **given: Any) -> tuple[SmoothingSummary, Any]:
    result = summarise(inputs(found, params, **given))
    return SmoothingSummary.model_validate(result.summary), result


def test_numbers_are_kept_as_written_by_size() -> None:
    assert PARAMS.sigmas == ["0.1", "0.25"]
    assert Params.model_validate({"sigmas": [" 64/255", "0,5"]}).sigmas == ["64/255", "0,5"]
    assert amount("64/255") == pytest.approx(64 / 255)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sigmas": ["64"]}, "write 64/255"),
        ({"sigmas": ["much"]}, "write σ like"),
        ({"sigmas": []}, "one to 3 values of σ"),
        ({"sigmas": ["0.1", "0.2", "0.3", "0.4"]}, "there are 4"),
        ({"sigmas": ["-1"]}, "not positive"),
        ({"sigmas": ["1/0"]}, "no number"),
        ({"radii": ["0"]}, "not positive"),
        ({"radii": [f"0.{i}" for i in range(1, 7)]}, "one to 5 values of radius"),
        ({"radii": ["1"]}, "r = 1 can be certified for no image.*the largest radius is 0.66"),
        ({"radii": ["1"], "budget": "thorough"}, "the largest radius is 0.95"),
        ({"alpha": 0.0}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Params.model_validate(given)


def test_a_radius_is_refused_only_where_the_largest_noise_cannot_reach_it() -> None:
    assert Params.model_validate({"radii": ["0.9"], "sigmas": ["0.1", "0.5"]}).radii == ["0.9"]
    assert reach("standard", 0.001, 0.5) == pytest.approx(farthest_radius(COPIES["standard"], 0.001, 0.5))
    assert reach("quick", 0.001, 0.5) < farthest_radius(COPIES["quick"], 0.001, 0.5)


def test_the_cost_is_known_before_the_start() -> None:
    asked = Params.model_validate({"sigmas": ["0.1", "0.2"], "radii": ["0.1"], "budget": "standard", "train_copy": 1})
    assert passes(asked, 1000) == 200 * 4 * 10_100
    assert passes(asked, 50) == 50 * 4 * 10_100
    assert (networks(asked), networks(PARAMS)) == (2, 0)


def test_shards_find_what_one_shard_finds() -> None:
    whole, first, second = quick(), measure(shard(0, 10)), measure(shard(10, ROWS - 10))
    assert set(whole) == {"list.row", *(f"list.{name}" for name in ARRAYS)}
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), array, name)
    assert whole["list.row"].tolist() == list(range(ROWS))
    assert whole["list.decided"].shape == (ROWS, 2, 4)


def test_answers_are_those_of_the_exact_radius() -> None:
    """Of one pixel and two classes the smoothed answer is the plain one, and its radius the distance."""
    found = quick()
    radii = np.array([0.0, 0.05, 0.1, 0.15])
    certified = found["list.decided"] == 1
    allowed = (DISTANCE[:, None] > radii)[:, None]
    assert not (certified & ~allowed).any()
    clear = np.abs(DISTANCE[:, None] - radii) > 0.05
    within = radii[None] < np.array([reach("quick", 0.001, s) for s in (0.1, 0.25)])[:, None]
    assert (certified | ~allowed | ~clear[:, None] | ~within).all()
    assert (found["list.taken"][DISTANCE > 0.1] == LABELS[DISTANCE > 0.1, None]).all()
    share = norm.cdf(DISTANCE[:, None] / np.array([0.1, 0.25]))
    assert np.abs(found["list.noisy"] - share).max() < 5 * np.sqrt(0.25 / EFFORTS["quick"].first)
    assert (found["list.base"] == LABELS[:, None]).all()
    assert found["list.used"].max() <= 64 + 2000
    assert found["list.used"].mean() < 1000


def test_a_fixed_number_of_copies_gives_radii_close_to_exact_ones() -> None:
    found = full()
    radius = np.nan_to_num(found["list.radius"][:, 0])
    assert (radius <= DISTANCE + 1e-7).all()
    near = DISTANCE < 0.4
    assert (radius[near] > DISTANCE[near] - 0.03).all()
    np.testing.assert_array_equal(found["list.decided"][:, 0, 1] == 1, found["list.radius"][:, 0] > 0.1)


def test_images_without_a_label_are_not_asked() -> None:
    labels = LABELS.copy()
    labels[4] = -1
    assert 4 not in measure(shard(labels=labels))["list.row"]
    none = measure(shard(labels=np.full(ROWS, -1)))
    assert len(none["list.row"]) == 0
    assert none["list.decided"].shape == (0, 2, 4)


def test_the_summary_counts_what_is_right_and_certified() -> None:
    found = quick()
    summary, result = summed(found)
    assert [variant.sigma for variant in summary.variants] == ["0.1", "0.25"]
    for number, variant in enumerate(summary.variants):
        certified = (found["list.decided"][:, number] == 1) & (found["list.taken"][:, number] == LABELS)[:, None]
        assert [one.certified.value for one in variant.asked] == pytest.approx(certified[:, 1:].mean(axis=0))
        assert variant.smoothed.value == pytest.approx(certified[:, 0].mean())
        assert [point.radius for point in variant.curve] == [0.0, 0.05, 0.1, 0.15]
        assert variant.base.value == 1.0
    assert summary.first == int(np.argmax([variant.asked[1].certified.value for variant in summary.variants])), (
        "groups are shown where most is certified at the middle radius"
    )
    assert {row.name for row in summary.classes} == {"low", "high"}
    (score,) = result.scores
    assert ((score.values >= 0) & (score.values <= 1)).all()
    assert np.corrcoef(score.values, DISTANCE)[0, 1] > 0.7


def test_a_table_of_predictions_has_nothing_to_smooth() -> None:
    summary, _ = summed({})
    assert "no network" in summary.unavailable


def test_wrong_labels_are_certified_nowhere() -> None:
    found = quick() | {"list.taken": 1 - quick()["list.taken"]}
    summary, result = summed(found)
    assert all(one.certified.value == 0 for variant in summary.variants for one in variant.asked)
    assert (result.scores[0].values == 0).all()
    assert summary.variants[0].abstained.value < 0.5, "a wrong answer is no abstention"


def test_copies_are_planned_for_each_noise_and_judged_like_the_upload(tmp_path: Path) -> None:
    asked = PARAMS.model_copy(update={"train_copy": 1})
    planned = plan(inputs({}, asked)).details
    assert planned["noise"].tolist() == [0.1, 0.25]
    np.testing.assert_array_equal(planned["targets"], np.sort(drawn((0, ROWS), 0, 100)))
    assert plan(inputs({}, PARAMS)).details == {}
    found, measured = quick(), []
    for noise in planned["noise"].tolist():
        images = torch.from_numpy(PIXELS).float() / 255
        rows = np.arange(ROWS)
        measured.append(
            measure_copy(
                TrainedNetwork(one_pixel, images, LABELS, rows, noise, asked.model_dump(), 0, lambda _share: None)
            )
        )
    for name in ARRAYS:
        np.testing.assert_array_equal(np.stack([one[name] for one in measured], axis=1), found[f"list.{name}"], name)
    for stage in ("plan", "copy"):
        (tmp_path / stage).mkdir()
    np.save(tmp_path / "plan" / "targets.npy", planned["targets"])
    np.save(tmp_path / "copy" / "models.npy", np.arange(2))
    for name in ARRAYS:
        np.save(tmp_path / "copy" / f"measured.{name}.npy", np.stack([one[name] for one in measured]))
    earlier = {stage: tmp_path / stage for stage in ("plan", "copy")}
    summary, result = summed(found, asked, earlier=earlier)
    assert [variant.copied for variant in summary.variants] == [False, False, True, True]
    assert summary.variants[2].asked == summary.variants[0].asked
    assert result.details["decided"].shape == (ROWS, 4, 4)


def test_a_copy_that_is_not_there_is_said(tmp_path: Path) -> None:
    asked = PARAMS.model_copy(update={"train_copy": 1})
    found = quick()
    assert "no training split" in summed(found, asked)[0].no_copy
    np.save(tmp_path / "models.npy", np.arange(1))
    summary, _ = summed(found, asked, earlier={"plan": tmp_path, "copy": tmp_path})
    assert "could not be trained" in summary.no_copy
    assert len(summary.variants) == 2


def test_sentences_say_what_a_certificate_is_worth_and_what_is_left_out() -> None:
    summary, _ = summed(quick())
    text = " ".join(sentences(summary))
    assert "probability at most α = 0.001" in text
    assert "expect at most 0.024 wrong ones" in text
    assert "leaves out every radius but those asked" in text
    assert "has no such guarantee" in text


def test_a_network_that_noise_breaks_is_told_plainly() -> None:
    summary, _ = summed(quick())
    variant = summary.variants[0]
    sure = variant.model_copy(update={"noisy": variant.base})
    broken = variant.model_copy(update={"noisy": variant.base.model_copy(update={"value": 0.3})})
    assert plain(sure, summary) == ""
    assert "a copy trained with it is what would help" in plain(broken, summary)
    copy = variant.model_copy(update={"copied": True})
    beside = summary.model_copy(update={"variants": [broken, copy]})
    share = f"{100 * copy.smoothed.value:.1f}\u00a0%"
    assert f"the copy trained with it has a smoothed accuracy of {share}" in plain(broken, beside)
    assert "longer training" in plain(broken.model_copy(update={"copied": True}), summary)


def test_the_drawing_falls_and_ends_where_nothing_is_certified() -> None:
    drawing = chart(summed(full(), FULL)[0])
    (curve,) = drawing.curves
    heights = [dot.y for dot in curve.dots]
    assert heights == sorted(heights)
    assert all(dot.high <= dot.y <= dot.low for dot in curve.dots)
    assert heights[-1] == HEIGHT
    assert heights[-2] < HEIGHT
    assert curve.line.startswith(f"{curve.dots[0].x:g},{curve.dots[0].y:g} ")
