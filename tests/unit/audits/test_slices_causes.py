"""Typed causes of a slice with a known reason, the order of slices, and repeated ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from app.audits.base import Inputs, Split
from app.audits.slices.causes import Explainer
from app.audits.slices.compute import find, read_candidates
from app.audits.slices.describe import describe
from app.audits.slices.ranking import Measured, mark_same, ranked
from app.audits.slices.rows import load
from app.audits.slices.schema import Cause, Params

from .planted_inputs import CLASSES, DIMENSION, after, as_inputs

ROWS = 400


def case(train_modes: list[int], taken_by: int | None = None) -> Inputs:
    """Mode 4 of class 0 fails; the training split holds class 0 in `train_modes` only, and may lend mode 4 away."""
    generator = np.random.default_rng(11)
    labels = np.repeat(np.arange(len(CLASSES)), ROWS)
    modes = np.arange(len(labels)) % 10
    centres = generator.normal(size=(len(CLASSES), 10, DIMENSION))
    wrong = generator.random(len(labels)) < 0.05
    failing = (labels == 0) & (modes == 4)
    wrong[failing] = generator.random(int(failing.sum())) < 0.8
    images = centres[labels, modes] + generator.normal(size=(len(labels), DIMENSION)) / 4
    inputs = as_inputs(images, labels, wrong, generator, Params(methods=["direction"], permutations=0))
    kept = (labels != 0) | np.isin(modes, train_modes)
    lent = (labels == 0) & (modes == 4) if taken_by is not None else np.zeros(len(labels), bool)
    train_labels = np.where(lent, -1 if taken_by is None else taken_by, labels)[kept | lent]
    train_images = (images + generator.normal(size=images.shape) / 4).astype(np.float32)[kept | lent]
    manifest = pa.table({"row": np.arange(len(train_labels)), "label": train_labels.astype(np.int32)})
    return replace(inputs, train=Split("train", manifest, train_images, None, None))


def causes_of_planted(inputs: Inputs, folder: Path) -> list[Cause]:
    inputs = after(inputs, "slices", find(inputs), folder)
    finding = next(f for f in describe(inputs).findings if f.class_index == 0 and f.evidence == "confirmed")
    return [Cause.model_validate(c) for c in finding.metrics["causes"]]


OTHERS = [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_mode_that_training_lacks_is_rare_and_shifted(tmp_path: Path) -> None:
    causes = {c.type: c for c in causes_of_planted(case(OTHERS), tmp_path)}
    assert {"rare in training", "shift"} <= set(causes)
    assert causes["rare in training"].value < 0.02
    assert causes["shift"].value > 0.9
    assert "training images" in causes["rare in training"].sentence


def test_a_mode_that_training_calls_another_class_is_spurious(tmp_path: Path) -> None:
    causes = {c.type: c for c in causes_of_planted(case(OTHERS, taken_by=1), tmp_path)}
    assert causes["spurious correlation"].value > 0.9
    assert CLASSES[1] in causes["spurious correlation"].sentence
    assert "shift" not in causes


def test_a_mode_that_training_holds_has_no_known_cause(tmp_path: Path) -> None:
    causes = causes_of_planted(case(list(range(10))), tmp_path)
    assert [c.type for c in causes] == ["unknown"]


def test_without_training_rows_the_reason_stays_open_and_says_why(tmp_path: Path) -> None:
    causes = causes_of_planted(replace(case(OTHERS), train=None), tmp_path)
    assert [c.type for c in causes] == ["unknown"]
    assert "training split" in causes[0].sentence


def test_neighbours_of_confirm_rows_are_never_themselves(tmp_path: Path) -> None:
    inputs = replace(case(OTHERS), train=None)
    inputs = after(inputs, "slices", find(inputs), tmp_path)
    rows = load(inputs, inputs.earlier["slices"])
    near, _ = Explainer(inputs, rows, inputs.earlier["slices"])._neighbours(np.flatnonzero(rows.confirm)[:50])
    assert float(near.similarity.max()) < 0.999


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    found = read_candidates(find(case(OTHERS)).tables["candidates"])
    return [replace(found[0], key=key, method=method) for key, method in (("a", "mixture"), ("b", "direction"))]


def test_a_trailing_method_comes_after_and_repeats_the_better_slice(measured: list[Measured]) -> None:
    order = ranked(measured, {"mixture"})
    assert [measured[i].key for i in order] == ["b", "a"]
    own = [replace(measured[i], metrics=measured[i].metrics.model_copy()) for i in order]
    mark_same(own, ("mixture", "direction"), {"mixture"})
    assert [m.metrics.same_as for m in own] == ["", "b"]


def test_of_two_that_are_the_same_the_preferred_method_is_kept_and_the_other_comes_late(
    measured: list[Measured],
) -> None:
    own = [replace(m, metrics=m.metrics.model_copy()) for m in measured]
    mark_same(own, ("direction", "mixture"), set())
    assert [m.metrics.same_as for m in own] == ["b", ""]
    assert [own[i].key for i in ranked(own, set())] == ["b", "a"]


def test_a_large_slice_around_a_preferred_small_one_is_a_slice_of_its_own(measured: list[Measured]) -> None:
    whole, part = (replace(m, metrics=m.metrics.model_copy()) for m in measured)
    part = replace(part, rows=whole.rows[: len(whole.rows) // 3])
    mark_same([whole, part], ("direction", "mixture"), set())
    assert (whole.metrics.same_as, part.metrics.same_as) == ("", "")


def test_insufficient_candidates_come_last_whatever_their_method(measured: list[Measured]) -> None:
    weak = replace(measured[1], confirmed=False)
    assert ranked([weak, measured[0]], {"mixture"}) == [1, 0]
