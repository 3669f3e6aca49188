"""The kind `shift` on sets with planted shifts: what it calls them, and that it calls nothing where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from app.audits.base import Inputs, Result, Second, Split
from app.audits.shift import accuracy, groups, space
from app.audits.shift.placing import SLICES
from app.audits.shift.schema import Params, ShiftSummary
from app.audits.shift.words import verdict
from app.audits.slices.compute import find
from app.audits.slices.schema import Params as SliceParams
from app.numerics.intervals import newcombe_difference_interval
from app.numerics.shift.mmd import mmd_test
from workers.stages import results

CLASSES = ("cat", "car", "boat")
DIMENSION = 12
NIGHT, FOG = 3, 4
"""Dimensions of the embeddings in which these show."""


@dataclass(frozen=True)
class Scenes:
    """How a set is drawn."""

    n: int = 600
    shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)
    night: float = 0.3
    """Share of images at night; cats at night are mistaken for cars."""
    fog: float = 0.0
    """How far every image is moved in a dimension of its own."""
    error: float = 0.05
    seed: int = 0


def drawn(scenes: Scenes) -> dict[str, np.ndarray]:
    """Labels, predictions, logits, embeddings and the column `time` of a set."""
    generator = np.random.default_rng(scenes.seed)
    labels = generator.choice(len(CLASSES), scenes.n, p=scenes.shares)
    night = generator.random(scenes.n) < scenes.night
    wrong = generator.random(scenes.n) < np.where(night & (labels == 0), 0.6, scenes.error)
    predictions = np.where(wrong, (labels + 1) % len(CLASSES), labels)
    logits = generator.normal(0, 0.5, (scenes.n, len(CLASSES)))
    logits[np.arange(scenes.n), predictions] += np.where(wrong, 1.5, 4.0) + generator.normal(0, 0.7, scenes.n)
    embeddings = generator.normal(0, 0.3, (scenes.n, DIMENSION))
    embeddings[np.arange(scenes.n), labels] += 2
    embeddings[:, NIGHT] += 2 * night
    embeddings[:, FOG] += scenes.fog
    names = {"labels": labels, "logits": logits, "embeddings": embeddings, "time": np.where(night, "night", "day")}
    return {**names, "predictions": logits.argmax(1)}


def split_of(found: Mapping[str, np.ndarray], name: str, *, labelled: bool = True, embedded: bool = True) -> Split:
    n = len(found["labels"])
    labels = found["labels"] if labelled else np.full(n, -1)
    columns = {"row": np.arange(n), "label": labels.astype(np.int32), "group": np.arange(n)}
    table = pa.table({**columns, "sha256": [f"{name}{i}" for i in range(n)], "meta.time": found["time"].tolist()})
    embeddings = found["embeddings"].astype(np.float32) if embedded else None
    return Split(name, table, embeddings, found["logits"].astype(np.float32), None)


def inputs_of(first: Split, second: Split, seed: int = 0, earlier: Mapping[str, Path] | None = None) -> Inputs:
    own = {name: getattr(second, name) for name in ("name", "manifest", "embeddings", "logits", "features", "audited")}
    beside = Second(**own, dataset_id=2, dataset="b")
    params = Params(second="2/b")
    return Inputs(
        first, None, CLASSES, params, seed, "cpu", None, earlier or {}, lambda _share, _message: None, second=beside
    )


def found(inputs: Inputs) -> tuple[ShiftSummary, dict[str, Result]]:
    made = {stage.__name__: stage.compare(inputs) for stage in (accuracy, groups, space)}
    summary: dict[str, Any] = {}
    for result in made.values():
        summary |= result.summary
    return ShiftSummary.model_validate(results.plain(summary)), {k.rpartition(".")[2]: v for k, v in made.items()}


@cache
def planted(second: Scenes) -> ShiftSummary:
    return found(inputs_of(split_of(drawn(Scenes()), "a"), split_of(drawn(second), "b")))[0]


SAME = Scenes(seed=11)
LABEL = Scenes(seed=2, shares=(0.6, 0.2, 0.2))
COVARIATE = Scenes(seed=3, night=0.7)
FOGGY = Scenes(seed=4, shares=(0.6, 0.2, 0.2), fog=1.0)


@pytest.mark.parametrize(
    ("second", "kind"), [(SAME, "none"), (LABEL, "label"), (COVARIATE, "covariate"), (FOGGY, "both")]
)
def test_a_planted_shift_is_called_what_it_is(second: Scenes, kind: str) -> None:
    summary = planted(second)
    assert summary.space.verdict == kind
    said = " ".join(verdict(summary))
    first_words = {"none": "No shift is seen", "label": "Label shift", "covariate": "Covariate shift", "both": "Both"}
    assert said.startswith(first_words[kind])
    assert ("none is seen to have other images" in said) == (kind in {"none", "label"})


def test_images_that_look_the_same_are_no_comfort_where_the_model_errs_more() -> None:
    summary = planted(SAME).model_copy(deep=True)
    assert (summary.accuracy.harder_p or 0) > 0.05
    summary.accuracy.harder_p = 0.001
    assert verdict(summary)[0].startswith("Within classes the model is")
    summary.accuracy.harder_p = 0.5
    summary.space.tests[0].holm = 0.002
    assert verdict(summary)[0].startswith("The sets differ as a whole (MMD²")


def test_without_a_shift_nothing_moves() -> None:
    summary = planted(SAME)
    groups_ = [*summary.accuracy.classes, *summary.groups.values]
    assert len(groups_) == 5
    assert not any(group.prevalence.moved or (group.accuracy and group.accuracy.moved) for group in groups_)
    assert all(test.holm > 0.05 for test in summary.space.tests)
    change = summary.accuracy.change
    assert change is not None
    assert change.difference.low < 0 < change.difference.high


def test_a_label_shift_costs_what_its_hard_class_costs() -> None:
    parts = planted(LABEL).accuracy.parts
    assert parts is not None
    assert parts.label.high < 0
    assert parts.within.low < 0 < parts.within.high
    shares = planted(LABEL).accuracy.shares
    assert shares is not None
    cat = next(row for row in shares.classes if row.name == "cat")
    assert cat.second.low < 0.6 < cat.second.high
    assert shares.p_value < 0.01


def test_figures_are_those_of_the_rows() -> None:
    first, second = drawn(Scenes()), drawn(COVARIATE)
    summary = planted(COVARIATE)
    (a, n), (b, m) = ((int((s["labels"] == s["predictions"]).sum()), len(s["labels"])) for s in (first, second))
    change = summary.accuracy.change
    assert change is not None
    assert (change.first.value, change.second.value) == pytest.approx((a / n, b / m))
    assert change.p_value == pytest.approx(stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue)
    low, high = newcombe_difference_interval(b, m, a, n)
    assert (change.difference.low, change.difference.high) == pytest.approx((float(low), float(high)))
    night = next(group for group in summary.groups.values if group.name == "time: night")
    assert night.prevalence.first.value == pytest.approx((first["time"] == "night").mean())
    assert night.prevalence.second.value == pytest.approx((second["time"] == "night").mean())
    assert night.prevalence.moved
    kernel = mmd_test(first["embeddings"], second["embeddings"], 1000, seed=0, most=500)
    assert summary.space.tests[0].p_value == kernel.p_value
    assert summary.space.tests[0].value.value == pytest.approx(kernel.statistic, rel=1e-5)


def test_q_values_are_over_both_questions_of_a_table() -> None:
    values = planted(COVARIATE).groups.values
    asked = [change for group in values for change in (group.prevalence, group.accuracy) if change is not None]
    adjusted = stats.false_discovery_control([change.p_value for change in asked])
    assert [change.q_value for change in asked] == pytest.approx(adjusted.tolist())


@pytest.fixture(scope="module")
def with_slices(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShiftSummary, dict[str, Result], Path]:
    """Slices of the first set by the kind itself, then a second set with far more cats at night."""
    first = split_of(drawn(Scenes(n=1500)), "a")
    params = SliceParams(permutations=5, methods=["direction"])
    own = Inputs(first, None, CLASSES, params, 0, "cpu", None, {}, lambda _share, _message: None)
    folder = tmp_path_factory.mktemp("slices")
    results.save(find(own), folder)
    second = split_of(drawn(Scenes(n=900, seed=6, night=0.75)), "b")
    return *found(inputs_of(first, second, earlier={SLICES: folder})), folder


def test_the_slice_that_grew_is_found_again(with_slices: tuple[ShiftSummary, dict[str, Result], Path]) -> None:
    summary, made, folder = with_slices
    cats = [group for group in summary.groups.slices if group.class_index == 0]
    assert cats
    worst = cats[0]
    assert worst.prevalence.moved
    assert worst.prevalence.difference.low > 0.1
    assert (worst.agreement or 0) > 0.7
    second = drawn(Scenes(n=900, seed=6, night=0.75))
    members = made["groups"].tables["members"].to_pylist()
    kept = next(row["second"] for row in members if row["key"] == worst.key)
    assert (second["time"][kept] == "night").mean() > 0.9
    assert (second["labels"][kept] == 0).all()
    # audited members come from the rows that the search did not see
    fit = np.load(folder / "fit.npy")
    assert not fit[next(row["first"] for row in members if row["key"] == worst.key)].any()


def test_its_rule_is_the_direction_and_cut_that_the_slices_left(
    with_slices: tuple[ShiftSummary, dict[str, Result], Path],
) -> None:
    summary, _, folder = with_slices
    second = drawn(Scenes(n=900, seed=6, night=0.75))
    table = results.pq.read_table(folder / "candidates.parquet").to_pylist()
    mean, std = np.load(folder / "mean.npy"), np.load(folder / "std.npy")
    unit = (second["embeddings"].astype(np.float32) - mean) / std
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for group in summary.groups.slices:
        place = next(i for i, row in enumerate(table) if row["key"] == group.key)
        own = second["labels"] == group.class_index
        under = unit[own] @ np.load(folder / "slice_directions.npy")[place] >= np.load(folder / "slice_cuts.npy")[place]
        assert group.prevalence.second.value == pytest.approx(under.mean(), abs=1 / own.sum())
        assert group.prevalence.second.n == own.sum()


def test_without_labels_only_what_needs_none_is_said() -> None:
    truth = drawn(COVARIATE)
    summary, made = found(inputs_of(split_of(drawn(Scenes()), "a"), split_of(truth, "b", labelled=False)))
    part = summary.accuracy
    assert (part.change, part.parts, part.label_p, part.classes) == (None, None, None, [])
    assert part.unlabelled is not None
    assert part.unlabelled.error is None
    actual = (truth["labels"] == truth["predictions"]).mean()
    assert part.unlabelled.estimate.low - 0.03 < actual < part.unlabelled.estimate.high + 0.03
    assert summary.space.by_prediction
    assert summary.space.verdict in {"covariate", "both"}
    assert "cannot be told apart for certain" in " ".join(verdict(summary))
    assert all(value.accuracy is None for value in summary.groups.values)
    assert (made["accuracy"].details["labels"] == -1).all()


def test_labels_that_are_there_judge_the_estimate() -> None:
    part = planted(COVARIATE).accuracy
    assert part.unlabelled is not None
    assert part.change is not None
    assert part.unlabelled.error == pytest.approx(part.unlabelled.estimate.value - part.change.second.value)
    names = [test.name for test in part.unlabelled.tests]
    assert names == ["random tenths", "classes", "values of “time”"]


def test_without_embeddings_the_rest_stands() -> None:
    first, second = split_of(drawn(Scenes()), "a", embedded=False), split_of(drawn(LABEL), "b", embedded=False)
    summary, made = found(inputs_of(first, second))
    assert "no embeddings of both sets" in summary.space.unavailable
    assert summary.accuracy.change is not None
    assert made["space"].scores == ()
    said = " ".join(verdict(summary))
    assert "The classes' shares moved; whether images changed within classes cannot be said" in said


def test_embeddings_of_other_lengths_are_not_compared() -> None:
    second = drawn(SAME)
    second = {**second, "embeddings": second["embeddings"][:, :5]}
    summary, _ = found(inputs_of(split_of(drawn(Scenes()), "a"), split_of(second, "b")))
    assert summary.space.unavailable == "The two sets brought embeddings of different lengths, 12 and 5."


def test_rows_without_an_output_are_left_out_and_counted() -> None:
    second = split_of(drawn(SAME), "b")
    audited = np.arange(600) >= 50
    labels = np.where(audited, second.manifest["label"].to_numpy(), -1).astype(np.int32)
    manifest = second.manifest.set_column(1, "label", pa.array(labels))
    summary, made = found(
        inputs_of(split_of(drawn(Scenes()), "a"), replace(second, manifest=manifest, audited=audited))
    )
    assert summary.second is not None
    assert (summary.second.rows, summary.second.left_out, summary.second.labelled) == (550, 50, 550)
    assert "50 of the 600 images of the second set are left out" in " ".join(summary.doubts)
    assert np.isnan(made["space"].details["second"][:50]).all()


def test_pictures_in_both_sets_are_told() -> None:
    first, second = split_of(drawn(Scenes()), "a"), split_of(drawn(SAME), "b")
    shared = pa.array([f"a{i}" if i < 7 else f"b{i}" for i in range(600)])
    second = replace(second, manifest=second.manifest.set_column(3, "sha256", shared))
    assert "7 pictures lie in both sets" in found(inputs_of(first, second))[0].doubts[0]


def test_a_second_set_that_the_model_was_trained_on_is_told() -> None:
    first, second = split_of(drawn(Scenes()), "a"), split_of(drawn(SAME), "b")
    inputs = replace(inputs_of(first, second), train=split_of(drawn(SAME), "b"))
    assert "The model was trained on 600 of the pictures of the second set" in found(inputs)[0].doubts[0]


def test_the_images_that_moved_most_are_the_most_typical() -> None:
    truth = drawn(FOGGY)
    second = {**truth, "embeddings": truth["embeddings"].copy()}
    second["embeddings"][:, FOG] -= np.where(np.arange(600) < 300, 1.0, 0.0)
    _, made = found(inputs_of(split_of(drawn(Scenes()), "a"), split_of(second, "b")))
    scores = made["space"].details["second"]
    assert scores[300:].mean() > scores[:300].mean() + 1
    assert made["space"].scores[0].values.shape == (600,)


def test_another_seed_moves_p_values_a_little_and_the_same_none() -> None:
    first, second = split_of(drawn(Scenes()), "a"), split_of(drawn(LABEL), "b")
    once, again, other = (found(inputs_of(first, second, seed))[0] for seed in (0, 0, 1))
    assert once == again
    assert once != other
    assert once.accuracy.change == other.accuracy.change
