"""The kind `patches` without a worker: sizes and settings, what a shard finds, what is summed up and said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from app.audits.drawn import drawn
from app.audits.patches.budgets import EFFORTS, band_width, passes, stride
from app.audits.patches.measure import measure
from app.audits.patches.page_map import GRID, chart, place_map
from app.audits.patches.schema import METHODS, UNKNOWN, Params, PatchesSummary, side, sides, unfit
from app.audits.patches.summarise import summarise
from app.audits.patches.words import sentences
from app.audits.pixels import PixelShard
from app.errors import UserError
from tests.unit.audits.pixel_shards import ever_surer, pixel_shard, stage_inputs

PARAMS = Params.model_validate({"sizes": ["4 px", "2 px", "12 px"], "budget": "quick", "threshold": 0.4})
ROWS, SIDE = 24, 12


def brightest(pictures: Tensor) -> Tensor:
    """Three classes by the brightest channel."""
    return pictures.float().mean(dim=(2, 3)) / 4


def shard(start: int = 0, rows: int = ROWS, params: Params = PARAMS, **changes: Any) -> PixelShard:
    given = {"classify": brightest, "mean": (110, 110, 110)} | changes
    return pixel_shard(ever_surer(ROWS, SIDE), np.arange(ROWS) % 3, start, rows, params, **given)


def summed(found: dict[str, np.ndarray], params: Params = PARAMS) -> tuple[PatchesSummary, dict[str, Any], np.ndarray]:
    result = summarise(stage_inputs("certify", found, np.arange(ROWS) % 3, params))
    score = result.scores[0].values if result.scores else np.zeros(0)
    return PatchesSummary.model_validate(result.summary), dict(result.details), score


def test_sizes_are_those_that_were_published() -> None:
    assert [side(text, 224, 224) for text in ("1 %", "2 %", "3 %")] == [23, 32, 39]
    assert [side(text, 32, 32) for text in ("2.4 %", "0.4%", "5 px", "100 %")] == [5, 3, 5, 32]
    assert side("0,1 %", 10, 10) == 1
    for height, width in ((32, 32), (7, 13), (28, 28), (224, 224)):
        for share in range(1, 200):
            assert side(f"{share / 4} %", height, width) ** 2 >= share / 400 * height * width * (1 - 1e-9)
    assert sides(["5 px", "1 %", "2.4 %"], 32, 32) == [("1 %", 4), ("5 px", 5)]


def test_default_bands_are_those_that_were_published() -> None:
    params = Params()
    assert [band_width(params, "columns", width) for width in (28, 32, 224)] == [4, 4, 25]
    assert [band_width(params, "smoothed ViT", width) for width in (32, 224)] == [3, 19]
    assert band_width(Params(band=7), "blocks", 224) == 7
    steps = {budget: stride(Params(budget=budget), "columns", 224) for budget in EFFORTS}
    assert steps == {"quick": 7, "standard": 4, "thorough": 1}
    assert stride(Params(budget="standard"), "blocks", 32) == 2
    assert stride(Params(stride=5), "columns", 224) == 5


def test_sizes_that_make_no_sense_are_refused_in_words() -> None:
    for given, said in (([], "one to 8 patch sizes"), (["0 %"], "is no share"), (["nan %"], "names no unit")):
        with pytest.raises(ValidationError, match=said):
            Params.model_validate({"sizes": given})
    assert unfit(Params(), 224, 224) == {}
    assert "at most 8 px" in unfit(Params(sizes=["9 px"]), 8, 20)["sizes"]
    assert "at most 8" in unfit(Params(sizes=["1 px"], band=9), 8, 20)["band"]


def test_a_patch_larger_than_the_image_ends_the_shard_before_the_network_is_asked() -> None:
    asked = shard(params=Params(sizes=["13 px"]), classify=lambda _pictures: pytest.fail("asked"))
    with pytest.raises(UserError, match="does not fit into the 12 × 12 pixels"):
        measure(asked)


def test_shards_find_what_one_shard_finds() -> None:
    whole, first, second = measure(shard()), measure(shard(0, 10)), measure(shard(10, ROWS - 10))
    for name in ("row", "clean", "defended", "certified", "vote", "map", "mapped", "picture", "pictures"):
        joined = np.concatenate([first[f"list.{name}"], second[f"list.{name}"]])
        assert np.array_equal(joined, whole[f"list.{name}"], equal_nan=name == "vote"), name
    assert whole["list.row"].tolist() == list(range(ROWS))


def test_what_is_certified_of_a_network_of_means_is_what_masks_leave() -> None:
    found = measure(shard())
    held = found["list.certified"][:, 0]
    assert held[-6:, 1].all(), "far apart channels stay so under two masks"
    assert (held[:, 2] == (np.arange(ROWS) % 3 == 0)).all(), "what is hidden whole is taken for the first class"
    assert (found["list.certified"][:, 2:] == -1).all()
    assert (found["list.map"][:, 2:] == UNKNOWN).all()
    assert set(np.unique(found["list.map"][:, 0])) <= {0, -1}


def test_columns_count_what_each_column_says_alone() -> None:
    params = Params(sizes=["2 px"], methods=["columns"], band=3, threshold=0.5)
    found = measure(shard(params=params))
    pictures = torch.cat([batch.pictures for batch in shard().pictures(range(ROWS))])
    for row in range(0, ROWS, 5):
        votes = np.zeros(3, np.int64)
        for first in range(SIDE):
            seen = torch.full((1, 3, SIDE, SIDE), 110, dtype=torch.uint8)
            for column in ((first + step) % SIDE for step in range(3)):
                seen[..., column] = pictures[row : row + 1, ..., column]
            votes += (brightest(seen).softmax(1)[0] >= 0.5).numpy()
        label = row % 3
        rivals = [votes[c] + (c < label) for c in range(3) if c != label]
        assert found["list.certified"][row, 1, 0] == (votes[label] >= max(rivals) + 2 * (2 + 3 - 1))
        assert found["list.defended"][row, 1, 0] == votes.argmax()
        assert found["list.vote"][row, 1] == pytest.approx(votes[label] / SIDE)


def test_blocks_run_where_a_budget_or_a_stride_asks_for_them() -> None:
    asked = {"sizes": ["2 px"], "methods": ["blocks", "smoothed ViT"]}
    none = measure(shard(params=Params.model_validate(asked)))
    summary, _, _ = summed(none, Params.model_validate(asked))
    assert "two masks, which takes any classifier" in summary.unavailable
    assert "this format does not show its tokens" in summary.unavailable
    some = measure(shard(params=Params.model_validate(asked | {"stride": 4})))
    assert some["list.asked"].tolist() == [[ROWS, 0, 0, 9 * ROWS, 0]]
    assert (some["list.certified"][:, 2] >= 0).all()
    standard = measure(shard(params=Params.model_validate(asked | {"budget": "standard"})))
    assert standard["list.asked"][0, 3] == SIDE**2 * ROWS


def test_images_without_a_label_or_outside_the_draw_are_not_tested() -> None:
    labels = np.arange(ROWS) % 3
    labels[4] = -1
    assert measure(shard(labels=labels))["list.row"].tolist() == [row for row in range(ROWS) if row != 4]
    many = measure(shard(split=(0, 4000)))
    assert set(many["list.row"].tolist()) == set(drawn((0, 4000), 0, 100).tolist()) & set(range(ROWS))
    assert set(many["list.mapped"].tolist()) == set(drawn((0, 4000), 0, 24).tolist()) & set(range(ROWS))
    nothing = measure(shard(labels=np.full(ROWS, -1)))
    assert nothing["list.certified"].shape == (0, len(METHODS), 3)
    assert "nothing was tested" in summed(nothing)[0].unavailable


def test_the_summary_puts_sizes_in_order_and_counts() -> None:
    found = measure(shard())
    summary, details, score = summed(found)
    assert [size.px for size in summary.sizes] == [2, 4, 12]
    assert [size.text for size in summary.sizes] == ["2 px", "4 px", "12 px"]
    assert summary.middle == 1
    order = [1, 0, 2]
    assert np.array_equal(details["certified"], found["list.certified"][:, :, order])
    assert np.array_equal(details["map"], found["list.map"][:, :, order])
    lead, columns = summary.methods
    assert [cell.value for cell in lead.certified] == pytest.approx(details["certified"][:, 0].mean(axis=0))
    assert columns.votes is not None
    assert columns.votes.value == pytest.approx(float(found["list.vote"][:, 1].mean()))
    assert lead.passes * ROWS == found["list.asked"][0, 1] <= ROWS * (passes(PARAMS, 1) - 1)
    assert score == pytest.approx(details["certified"][:, 0].mean(axis=1))
    assert summary.classes[0].certified.value == min(row.certified.value for row in summary.classes)
    said = " ".join(sentences(summary))
    assert "leaves out block smoothing" in said
    assert "further channels that a pixel is missing" in said
    assert ("its votes are weak" in said) == (columns.votes.value < 0.5)


def test_outputs_that_prove_nothing_are_named() -> None:
    draw = torch.Generator().manual_seed(0)

    def random(pictures: Tensor) -> Tensor:
        return brightest(pictures) + torch.randn(len(pictures), 3, generator=draw)

    summary, _, _ = summed(measure(shard(classify=random)))
    assert "24 of 24 images got other scores" in summary.doubts[0]
    assert "nothing here is proven" in summary.doubts[0]
    summary, _, _ = summed(measure(shard(classify=lambda pictures: brightest(pictures).softmax(1))))
    assert "Declare the outputs as probabilities" in summary.doubts[0]
    assert summed(measure(shard()))[0].doubts == []


def test_a_file_that_is_no_picture_is_left_out() -> None:
    found = measure(shard())
    found["list.pictures"] = found["list.pictures"].copy()
    found["list.pictures"][: found["list.picture"][0]] = 7
    _, details, _ = summed(found)
    assert details["pictures.ends"][0] == 0
    assert details["pictures.ends"][-1] == len(details["pictures.bytes"]) == found["list.picture"][1:].sum()


def test_a_map_has_every_cell_once_and_says_how_many_are_safe() -> None:
    harm = np.random.default_rng(0).random((GRID, GRID)).round(1)
    found = place_map(harm, "")
    assert found.safe.value == pytest.approx(1 - harm.mean())
    assert sum(int(run.split("v")[0]) for shade in found.shades for run in shade.path.split("h")[1::2]) == GRID**2
    assert place_map(np.zeros((GRID, GRID)), "").shades[0].level == 0


def test_the_curve_of_a_single_size_stands_at_the_left() -> None:
    params = Params(sizes=["2 px"])
    summary, _, _ = summed(measure(shard(params=params)), params)
    made = chart(summary)
    assert len(made.across) == 1
    assert all(dot.high <= dot.y <= dot.low for curve in made.curves for dot in curve.dots)
