"""The benchmarks at toy size: they run, and measure what they say."""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from app.audits.base import Inputs, Split
from app.audits.slices.schema import Params
from app.loaders.encoders import load_encoder
from app.scenes.captions import WORDS
from benchmarks import embed_throughput, planted_captions, predict_throughput, slices_scale
from benchmarks.throughput import Spent, compare, photographs, show, timed
from workers.stages import results


@pytest.fixture
def noise(tmp_path: Path) -> Inputs:
    params = Params(methods=["direction"], permutations=0)
    return slices_scale.noise_inputs(tmp_path, 600, 16, 3, params)


@pytest.mark.parametrize("searched", [False, True])
def test_questions_over_noise_are_timed(
    noise: Inputs, tmp_path: Path, searched: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slices").mkdir()
    if searched:
        results.save(slices_scale.searched(noise), tmp_path / "slices")
        assert "find on 600 rows" in capsys.readouterr().out
    else:
        slices_scale.without_slices(noise, tmp_path / "slices")
    answers = slices_scale.ask(Inputs(**{**vars(noise), "earlier": {"slices": tmp_path / "slices"}}), rounds=2)
    assert set(answers) == set(slices_scale.PROMISED)
    assert all(len(times) == 2 and min(times) > 0 for times in answers.values())


def test_a_promise_that_is_not_kept_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    slices_scale.show({"hypothesis": [1.0, 0.1, 0.1], "climb": [1.5, 0.1, 0.1]})
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("PASS")
    assert second.endswith("FAIL")


def test_own_memory_sees_what_the_process_takes() -> None:
    before = slices_scale.own_memory()
    with slices_scale.Peak() as peak:
        taken = np.ones(2**25, np.float32)
        time.sleep(0.1)
    assert peak.gib - before > 0.1
    del taken


def test_a_ratio_is_bare_over_whole_by_both_clocks(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(lambda: Spent(0.8, 3.0), lambda: Spent(1.0, 4.0), 3)
    assert found == (Spent(0.8, 3.0), Spent(1.0, 4.0), pytest.approx(0.8), pytest.approx(0.75))
    show("network", 10, 3, found)
    assert capsys.readouterr().out.count("FAIL") == 2


def test_time_is_read_around_the_work() -> None:
    ticks = iter([5.0, 7.5])
    spent = timed(lambda: time.sleep(0.02), lambda: next(ticks))()
    assert spent.wall >= 0.02
    assert spent.cpu == 2.5


def test_photographs_are_files_of_their_size() -> None:
    files = photographs(2, 60, 40)
    assert [Image.open(io.BytesIO(data)).size for data in files] == [(60, 40), (60, 40)]
    assert files[0] != files[1]


def test_embedding_is_compared_with_its_image_tower() -> None:
    found = embed_throughput.measure(load_encoder("scenes"), embed_throughput.scenes(5), 2, 1)
    assert found.bare.wall > 0
    assert found.whole.wall > 0


def test_prediction_is_compared_with_its_network(tmp_path: Path) -> None:
    options = argparse.Namespace(rows=3, batch_size=2, side=[64, 48], rounds=1, device="cpu")
    found = predict_throughput.measure(tmp_path, "mobilenet_v3_small", options)
    assert found.bare.wall > 0
    assert found.whole.wall > 0


PLANT = {"class": "cat", "where": {"light": "night"}}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (f"a photo of a cat {WORDS['light']['night'][0]}", True),
        ("a photo of a dark cat", True),
        ("a photo of a cat", False),
        (f"a photo of a large cat {WORDS['light']['night'][0]}", False),
        (f"a photo of a dog {WORDS['light']['night'][0]}", False),
    ],
)
def test_a_caption_says_the_same_when_it_has_every_factor_and_no_more(text: str, same: bool) -> None:
    assert planted_captions.says_same(text, PLANT) is same


def test_planted_rows_are_of_the_class_and_the_factors() -> None:
    table = pa.table({"label": [0, 0, 1, 1], "meta.light": ["night", "day", "night", "day"]})
    empty = np.zeros((4, 1), np.float32)
    inputs = Inputs(
        Split("test", table, empty, empty, None), None, ["cat", "dog"], Params(), 0, "cpu", None, {}, lambda *_: None
    )
    assert planted_captions.planted_rows(inputs, PLANT).tolist() == [True, False, False, False]
