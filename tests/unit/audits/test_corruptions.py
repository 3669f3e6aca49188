"""The kind `corruptions` without a worker: the draw, what a shard measures, and what is summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.audits.base import Inputs
from app.audits.corruptions.measure import measure
from app.audits.corruptions.pictures import Kept
from app.audits.corruptions.sample import families, gallery_rows, sampled
from app.audits.corruptions.schema import KINDS, LEAST_SIDE, CorruptionsSummary, Params, cells, unfit
from app.audits.corruptions.summarise import summarise
from app.audits.corruptions.words import sentences
from app.audits.corruptions.worst import WORST
from app.audits.pixels import PixelShard
from app.errors import UserError
from app.numerics.corruptions import parameters
from app.numerics.corruptions.corrupt import corrupt
from tests.unit.audits.pixel_shards import pixel_shard, stage_inputs

PARAMS = Params.model_validate({"kinds": ["contrast", "gaussian_noise"], "severities": ["5", "1"]})


def classify(pictures: torch.Tensor) -> torch.Tensor:
    """Three classes by the brightest channel, strongly so."""
    return pictures.float().mean(dim=(2, 3)) / 8


def shard(start: int = 0, rows: int = 30, side: int = 16, **changes: Any) -> PixelShard:
    images = np.random.default_rng(0).integers(90, 110, (60, 3, side, side), dtype=np.uint8)
    images[np.arange(60), np.arange(60) % 3] += 3
    return pixel_shard(images, np.arange(60) % 3, start, rows, PARAMS, **{"classify": classify} | changes)


def test_kinds_are_those_of_the_method_in_its_order() -> None:
    assert KINDS == parameters.KINDS
    assert cells(PARAMS.model_dump()) == [
        ("gaussian_noise", 1),
        ("gaussian_noise", 5),
        ("contrast", 1),
        ("contrast", 5),
    ]


def test_a_draw_is_the_same_for_every_shard_and_grows_with_the_budget() -> None:
    quick, standard = (sampled((100, 5100), 3, budget) for budget in ("quick", "standard"))
    assert (len(quick), len(standard), len(set(standard.tolist()))) == (200, 2000, 2000)
    assert np.array_equal(quick, standard[:200])
    assert quick.min() >= 100
    assert standard.max() < 5100
    assert not np.array_equal(quick, sampled((100, 5100), 4, "quick"))
    assert gallery_rows((100, 5100), 3) <= set(quick.tolist())


def test_the_size_chooses_the_family() -> None:
    assert families("by image size", 32, 32) == "cifar-c"
    assert families("by image size", 64, 65) == "imagenet-c"
    assert families("cifar-c", 224, 224) == "cifar-c"
    assert families("imagenet-c", 32, 32) == "imagenet-c"


def test_shards_measure_what_one_shard_measures() -> None:
    whole, first, second = measure(shard(0, 60)), measure(shard(0, 25)), measure(shard(25, 35))
    for name in ("list.row", "list.outcome", "list.margin", "list.taken"):
        assert np.array_equal(np.concatenate([first[name], second[name]]), whole[name]), name
    assert whole["list.row"].tolist() == list(range(60))
    assert (whole["list.outcome"][:, 0] == 1).all()
    assert (whole["list.outcome"][:, 2] == 0).any()
    assert [whole[f"list.{n}"].dtype for n in ("outcome", "margin", "taken")] == [np.int8, np.float16, np.int32]


def test_images_without_a_label_or_outside_the_draw_are_not_asked() -> None:
    labels = np.arange(30) % 3
    labels[4] = -1
    found = measure(shard(labels=labels))
    assert found["list.row"].tolist() == [row for row in range(30) if row != 4]
    many = measure(shard(split=(0, 4000)))
    assert set(many["list.row"].tolist()) == set(sampled((0, 4000), 0, "quick").tolist()) & set(range(30))


def test_images_too_small_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="This model takes images of 6 × 6 pixels"):
        measure(shard(side=6))


def test_of_each_cell_the_surest_mistakes_are_kept() -> None:
    kept = Kept(set())
    generator = np.random.default_rng(0)
    margins = generator.normal(size=40).astype(np.float16)
    fell = generator.random(40) < 0.5
    pictures = torch.from_numpy(generator.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8))
    for part in np.split(np.arange(40), 5):
        kept.offer(3, part + 100, pictures[part], pictures[part], fell[part], margins[part])
    index = kept.arrays()["list.picture"]
    worst = np.flatnonzero(fell)[np.argsort(margins[fell])][:WORST] + 100
    assert {row for row, column, _ in index.tolist() if column == 3} == set(worst.tolist())
    assert {row for row, column, _ in index.tolist() if column == 0} == set(worst.tolist())


def as_inputs(found: dict[str, np.ndarray], rows: int = 60, classes: Sequence[str] = ("r", "g", "b")) -> Inputs:
    columns = {
        "meta.half": ["low" if i < rows / 2 else "high" for i in range(rows)],
        "meta.own": [str(i) for i in range(rows)],
    }
    return stage_inputs("measure", found, np.arange(rows) % 3, PARAMS, classes, **columns)


def test_the_summary_says_what_was_measured() -> None:
    found = measure(shard(0, 60))
    result = summarise(as_inputs(found))
    summary = CorruptionsSummary.model_validate(result.summary)
    outcome = found["list.outcome"]
    assert result.scores[0].values == pytest.approx(outcome[:, 1:].mean(axis=1))
    assert [row.kind for row in summary.kinds] == ["gaussian_noise", "contrast"]
    assert [cell.value for row in summary.kinds for cell in row.cells] == pytest.approx(outcome[:, 1:].mean(axis=0))
    assert summary.mean_error is not None
    errors = 1 - outcome[:, 1:].mean(axis=1)
    assert summary.mean_error.value == pytest.approx(errors.mean())
    half = 1.96 * errors.std(ddof=1) / 60**0.5
    assert (summary.mean_error.low, summary.mean_error.high) == pytest.approx(
        (errors.mean() - half, errors.mean() + half), abs=1e-4
    )
    assert {row.name for row in summary.classes} == {"r", "g", "b"}
    assert [row.name for row in summary.classes] == [
        "rgb"[c] for c in sorted(range(3), key=lambda c: outcome[c::3, 1:].mean() - outcome[c::3, 0].mean())
    ]
    assert {row.name for row in summary.groups} == {"half: low", "half: high"}
    assert any("leaves out" in sentence for sentence in sentences(summary.model_copy(update={"of_rows": 90})))


def test_pictures_of_the_worst_and_of_one_image_are_kept_and_nothing_else_passes() -> None:
    found = measure(shard(0, 60))
    details = summarise(as_inputs(found)).details
    places = details["pictures.of"]
    for column in range(1, 5):
        mistakes = (found["list.outcome"][:, 0] == 1) & (found["list.outcome"][:, column] == 0)
        shown = set(places[places[:, 1] == column, 0].tolist()) - gallery_rows((0, 60), 0)
        assert len(shown) <= WORST
        assert mistakes[list(shown)].all()
    found["list.pictures"] = np.zeros_like(found["list.pictures"])
    assert len(summarise(as_inputs(found)).details["pictures.of"]) == 0


def test_alexnet_is_a_yardstick_for_imagenet_only() -> None:
    every = Params.model_validate({"kinds": ["contrast"], "family": "imagenet-c"})
    found = measure(shard(0, 60, params=every.model_dump()))
    wnids = [f"n{i:08d}" for i in range(1000)]
    shown = summarise(replace(as_inputs(found, classes=wnids), params=every)).summary
    error = 1 - found["list.outcome"][:, 1:].mean()
    assert shown["alexnet"] == pytest.approx(error / parameters.ALEXNET_ERRORS["contrast"])
    assert summarise(replace(as_inputs(found), params=every)).summary["alexnet"] is None
    names = [f"class {i}" for i in range(1000)]
    assert summarise(replace(as_inputs(found, classes=names), params=every)).summary["alexnet"] is None


def test_a_table_of_predictions_is_told_so() -> None:
    assert "no network" in summarise(as_inputs({})).summary["unavailable"]


def test_rows_that_are_not_of_the_split_are_not_believed() -> None:
    found = measure(shard(0, 60))
    found["list.row"] = found["list.row"] + 50
    assert summarise(as_inputs(found)).summary["rows"] == 10


def test_nothing_measured_is_told_so() -> None:
    found = measure(shard(0, 60))
    found = {name: array[:0] for name, array in found.items()}
    assert "None of the images" in summarise(as_inputs(found)).summary["unavailable"]


def test_images_too_small_to_corrupt_are_refused_before_the_start() -> None:
    assert unfit(PARAMS, LEAST_SIDE, 40) == {}
    assert "need at least 8 × 8" in unfit(PARAMS, 40, LEAST_SIDE - 1)["kinds"]
    for side in (LEAST_SIDE, LEAST_SIDE - 1):
        small = torch.zeros(1, 3, 40, side, dtype=torch.uint8)
        if side == LEAST_SIDE:
            assert corrupt(small, "fog", 5, family="cifar-c", rows=[0]).shape == small.shape
        else:
            with pytest.raises(ValueError, match="at least 8 × 8"):
                corrupt(small, "fog", 5, family="cifar-c", rows=[0])
