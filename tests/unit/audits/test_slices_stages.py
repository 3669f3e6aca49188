"""The stages of the slices kind on planted and on shuffled data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from app.audits.base import Inputs, Result
from app.audits.slices import actions, propose
from app.audits.slices.compute import find, read_candidates
from app.audits.slices.describe import describe
from app.audits.slices.map import choose, draw
from app.audits.slices.planting import plant
from app.audits.slices.ranking import Measured, behind
from app.audits.slices.rows import load, prepare
from app.audits.slices.schema import (
    ClimbPayload,
    HypothesisPayload,
    MethodSummary,
    NeighboursPayload,
    Params,
    RemeasurePayload,
    SlicesSummary,
)
from app.audits.slices.trust import trust

from .planted_inputs import CLASSES, DIMENSION, PLANTED, after, as_inputs, clustered_inputs, planted_inputs


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    inputs = planted_inputs()
    return after(inputs, "slices", find(inputs), tmp_path_factory.mktemp("found"))


@pytest.fixture(scope="module")
def described(found: Inputs) -> Result:
    return describe(found)


@pytest.fixture(scope="module")
def trusted(found: Inputs) -> Result:
    return trust(found)


@pytest.fixture(scope="module")
def drawn(found: Inputs) -> Result:
    return draw(replace(found, params=Params(map_points=400)))


def candidates(inputs: Inputs) -> list[Measured]:
    return read_candidates(pq.read_table(inputs.earlier["slices"] / "candidates.parquet"))


def confirmed_classes(inputs: Inputs) -> set[int]:
    return {c.class_index for c in read_candidates(find(inputs).tables["candidates"]) if c.confirmed}


def test_planted_classes_are_confirmed_and_the_clean_one_is_not(found: Inputs) -> None:
    assert {c.class_index for c in candidates(found) if c.confirmed} == set(PLANTED)


def test_no_class_shows_a_slice_where_nothing_was_planted() -> None:
    params = Params(permutations=0)
    shown = [len(confirmed_classes(planted_inputs(s, planted=False, rows=160, params=params))) for s in range(5)]
    assert sum(shown) <= 1


def test_numbers_come_from_confirm_rows_and_equal_fisher_s_test(found: Inputs) -> None:
    rows = prepare(found)
    for candidate in candidates(found):
        metrics, members = candidate.metrics, candidate.rows
        confirm = members[~rows.fit[members]]
        of_class = rows.of_class(candidate.class_index)
        rest = np.setdiff1d(of_class[~rows.fit[of_class]], confirm)
        wrong = ~rows.correct
        assert (metrics.errors.k, metrics.errors.n) == (wrong[confirm].sum(), len(confirm))
        table = [[wrong[g].sum(), (~wrong[g]).sum()] for g in (confirm, rest)]
        assert metrics.p_value == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-6)
        assert not set(metrics.hard_rows) & set(np.flatnonzero(rows.fit).tolist())


def test_q_values_are_benjamini_hochberg_s(found: Inputs) -> None:
    metrics = [c.metrics for c in candidates(found)]
    expected = stats.false_discovery_control([m.p_value for m in metrics])
    np.testing.assert_allclose([m.q_value for m in metrics], expected, rtol=1e-9)


def test_outcomes_of_confirm_rows_do_not_move_any_membership() -> None:
    """What would make every test circular: a confirm row's outcome deciding on where it belongs."""
    inputs = planted_inputs(rows=250)
    rows = prepare(inputs)
    logits = np.array(inputs.audited.logits)
    flipped = np.flatnonzero(rows.confirm)[::7]
    logits[flipped] = np.roll(logits[flipped], 1, axis=1)
    swapped = replace(inputs, audited=replace(inputs.audited, logits=logits))
    params = Params(methods=["direction", "mixture"], permutations=0)
    before, later = (replace(i, params=params) for i in (inputs, swapped))
    # The halving is stratified by outcome, so the comparison needs the same halves.
    own, other = prepare(before), replace(prepare(before), predictions=prepare(later).predictions)
    for method in params.methods:
        first = {c.key: c.members.tolist() for c in propose.PROPOSERS[method](own, params, 0)}
        second = {c.key: c.members.tolist() for c in propose.PROPOSERS[method](other, params, 0)}
        assert first == second


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = find(planted_inputs(rows=150)), find(planted_inputs(rows=150))
    assert first.summary == second.summary
    assert first.tables["candidates"].equals(second.tables["candidates"])


def test_duplicates_stay_on_one_side() -> None:
    inputs = planted_inputs()
    groups = np.arange(inputs.audited.manifest.num_rows) // 3
    index = inputs.audited.manifest.column_names.index("group")
    manifest = inputs.audited.manifest.set_column(index, "group", [groups])
    rows = prepare(replace(inputs, audited=replace(inputs.audited, manifest=manifest)))
    sides = rows.fit.reshape(-1, 3)
    assert (sides.all(axis=1) | ~sides.any(axis=1)).all()


def test_captions_name_what_was_planted(described: Result) -> None:
    titles = {f.class_index: f.title for f in reversed(described.findings) if f.evidence == "confirmed"}
    assert titles[0] == "A white cat on grass"
    assert titles[1] == "A car at night"
    assert described.summary["captions_available"]


def test_captions_name_their_class_in_the_noun_s_place_and_no_other_label(described: Result) -> None:
    captions = [(c["text"], CLASSES[f.class_index]) for f in described.findings for c in f.metrics["captions"]]
    assert captions
    for text, name in captions:
        assert text.split().count(name) == 1, text
        assert not set(text.split()) & (set(CLASSES) - {name}), text


def test_a_class_whose_name_is_no_word_is_an_object(found: Inputs) -> None:
    renamed = describe(replace(found, classes=("n0211", "n0212", "n0213")))
    assert {f.title for f in renamed.findings if f.evidence == "confirmed"} >= {"An object at night"}


def test_captions_carry_the_error_rate_of_their_best_matching_confirm_rows(described: Result) -> None:
    finding = next(f for f in described.findings if f.class_index == 1 and f.evidence == "confirmed")
    best = finding.metrics["captions"][0]["top"]
    assert best["20"]["n"] == 20
    assert best["20"]["value"] > finding.metrics["class_errors"]["value"]


def test_without_a_text_encoder_there_are_findings_without_captions(found: Inputs) -> None:
    result = describe(replace(found, encode_text=None))
    assert not result.summary["captions_available"]
    assert all(not f.metrics["captions"] for f in result.findings)
    assert any("no text" in note for note in result.summary["notes"])


def test_own_sentences_are_scored_and_leaks_are_dropped(found: Inputs) -> None:
    params = Params(sentences=["something at night", "a very small cat"])
    result = describe(replace(found, params=params))
    texts = {c["text"] for f in result.findings for c in f.metrics["captions"]}
    assert "something at night" in texts
    assert any("a very small cat" in note for note in result.summary["notes"])


def test_self_calibration_finds_what_it_planted_where_images_cluster(tmp_path: Path) -> None:
    inputs = clustered_inputs(Params(permutations=0))
    methods = {m["method"]: m for m in trust(after(inputs, "slices", find(inputs), tmp_path)).summary["methods"]}
    assert methods["direction"]["planted"] == 4 * len(CLASSES)
    assert methods["direction"]["precision_at_10"] > 0.6
    assert methods["direction"]["precision_at_10"] > methods["confidence"]["precision_at_10"]


def test_calibration_is_modest_where_images_do_not_cluster(trusted: Result) -> None:
    """A ball of pure noise can hardly be found, and the number says so instead of flattering."""
    direction = next(m for m in trusted.summary["methods"] if m["method"] == "direction")
    assert 0.1 < direction["precision_at_10"] < 0.6


def test_a_method_no_better_than_the_baseline_trails() -> None:
    entries = [("direction", 0.8), ("mixture", 0.3), ("metadata", None), ("confidence", 0.3)]
    methods = [
        MethodSummary(method=name, candidates=1, confirmed=0, precision_at_10=value)  # type: ignore[arg-type]
        for name, value in entries
    ]
    assert behind(methods) == {"mixture", "confidence"}
    assert behind(methods[:3]) == set()
    assert behind(methods[1:]) == {"mixture"}


def test_both_spaces_are_compared(trusted: Result) -> None:
    assert {e["encoder"] for e in trusted.summary["encoders"]} == {"chosen encoder", "the model's penultimate layer"}


def test_planting_makes_the_slice_fail_and_shuffles_the_rest(found: Inputs) -> None:
    rows = load(found, found.earlier["slices"])
    planted, truth = plant(rows, seed=3)
    assert set(truth) == set(range(len(CLASSES)))
    for index, members in truth.items():
        positions = rows.of_class(index)
        wrong = ~planted.correct[positions]
        assert members.sum() == 50
        assert 0.4 < wrong[members].mean() < 0.8
        assert wrong[~members].mean() == pytest.approx((~rows.correct[positions]).mean(), abs=0.05)
        # The baseline must see of a planted error what it sees of a real one.
        assert planted.p_true[positions][wrong].max() < planted.p_true[positions][~wrong].min()


def test_the_merged_summary_is_what_the_schema_says(
    found: Inputs, described: Result, trusted: Result, drawn: Result
) -> None:
    merged = json.loads((found.earlier["slices"] / "summary.json").read_text())
    for result in (described, trusted, drawn):
        merged |= result.summary
    summary = SlicesSummary.model_validate(merged)
    assert summary.confirmed >= 2
    assert summary.map_points + summary.map_left_out == summary.fit_rows + summary.confirm_rows


def test_the_map_takes_errors_first_and_says_what_it_leaves_out(found: Inputs, drawn: Result) -> None:
    rows = load(found, found.earlier["slices"])
    points = choose(rows, 400, seed=0)
    wrong = np.flatnonzero(rows.audited & ~rows.correct)
    assert len(points) == 400
    assert set(wrong.tolist()) <= set(points.tolist())
    assert drawn.summary["map_left_out"] == int(rows.audited.sum()) - 400
    assert drawn.details["xy"].shape == (400, 2)
    assert 0.5 < drawn.summary["map_trustworthiness"] <= 1


class TestDegenerate:
    """Classes that cannot be fitted say why and break nothing."""

    @staticmethod
    def inputs(wrong_of_first: int | None, n: int = 60) -> Inputs:
        generator = np.random.default_rng(1)
        labels = np.repeat([0, 1, 2], n)
        wrong = generator.random(3 * n) < 0.3
        wrong[:n] = False
        wrong[: n if wrong_of_first is None else wrong_of_first] = True
        return as_inputs(generator.normal(size=(3 * n, DIMENSION)), labels, wrong, generator, Params(permutations=5))

    @pytest.mark.parametrize(("errors", "reason"), [(0, "no error"), (1, "too few"), (None, "wrong on every")])
    def test_class_with_few_or_only_errors(self, errors: int | None, reason: str) -> None:
        summary = SlicesSummary.model_validate(find(self.inputs(errors)).summary)
        assert not summary.classes[0].fitted
        assert reason in summary.classes[0].reason
        assert summary.classes[1].fitted

    def test_class_without_images(self) -> None:
        inputs = replace(self.inputs(10), classes=(*CLASSES, "plane"))
        entry = SlicesSummary.model_validate(find(inputs).summary).classes[3]
        assert (entry.n, entry.fitted) == (0, False)
        assert "no image" in entry.reason

    def test_one_image(self) -> None:
        generator = np.random.default_rng(0)
        inputs = as_inputs(np.ones((1, DIMENSION)), np.array([0]), np.array([True]), generator, Params())
        summary = SlicesSummary.model_validate(find(inputs).summary)
        assert summary.candidates == 0

    def test_rows_without_label_or_finite_output_take_no_part(self) -> None:
        inputs = self.inputs(10)
        logits, labels = np.array(inputs.audited.logits), inputs.audited.manifest["label"].to_numpy().copy()
        logits[5], labels[7] = np.nan, -1
        index = inputs.audited.manifest.column_names.index("label")
        manifest = inputs.audited.manifest.set_column(index, "label", [labels])
        result = find(replace(inputs, audited=replace(inputs.audited, logits=logits, manifest=manifest)))
        role = next(c.values for c in result.scores if c.name == "role")
        assert role[[5, 7]].tolist() == ["left out", "left out"]
        assert result.summary["fit_rows"] + result.summary["confirm_rows"] == 178
        assert any("2 of 180" in note for note in result.summary["notes"])


class TestActions:
    """What analysts ask."""

    def test_a_true_hypothesis(self, found: Inputs) -> None:
        answer = actions.hypothesis(found, HypothesisPayload(class_index=1, sentence="at night", share=0.3))
        assert answer.result["inside"]["value"] > 3 * answer.result["outside"]["value"]
        assert answer.p_value is not None
        assert answer.p_value < 1e-6
        assert answer.result["overlap"]

    def test_a_false_hypothesis(self, found: Inputs) -> None:
        answer = actions.hypothesis(found, HypothesisPayload(class_index=2, sentence="at night", share=0.3))
        assert answer.p_value is not None
        assert answer.p_value > 0.01

    def test_picked_images_do_not_count_for_themselves(self, found: Inputs) -> None:
        rows = load(found, found.earlier["slices"])
        wrong = np.flatnonzero(rows.confirm & (rows.labels == 2) & ~rows.correct)[:10].tolist()
        answer = actions.hypothesis(found, HypothesisPayload(class_index=2, rows=wrong, share=0.2))
        assert not set(answer.result["rows"]) & set(wrong)
        total = answer.result["inside"]["n"] + answer.result["outside"]["n"]
        assert total == int((rows.confirm & (rows.labels == 2)).sum()) - 10

    def test_nothing_asked(self, found: Inputs) -> None:
        with pytest.raises(ValueError, match="Write a sentence"):
            actions.hypothesis(found, HypothesisPayload())

    def test_climbing_finds_more_like_the_marks(self, found: Inputs) -> None:
        rows = load(found, found.earlier["slices"])
        features = rows.features(np.arange(len(rows.labels))).numpy()
        night = features @ actions._sentence_move(found, rows, HypothesisPayload(sentence="at night")).numpy()
        order = rows.of_class(1)[np.argsort(-night[rows.of_class(1)])]
        marks = ClimbPayload(class_index=1, inside=order[:8].tolist(), outside=order[-8:].tolist(), top=40)
        answer = actions.climb(found, marks).result
        assert not set(answer["rows"]) & {*marks.inside, *marks.outside}
        assert np.isin(answer["rows"], order[: len(order) // 3]).mean() > 0.8

    def test_a_slice_of_one_s_own_is_measured(self, found: Inputs) -> None:
        first = candidates(found)[0]
        payload = RemeasurePayload(rows=first.rows.tolist(), class_index=first.class_index)
        answer = actions.remeasure(found, payload)
        assert answer.result["errors"] == first.metrics.errors.model_dump(mode="json")
        assert answer.p_value == pytest.approx(first.metrics.p_value)

    def test_neighbours_are_the_nearest(self, found: Inputs) -> None:
        rows = load(found, found.earlier["slices"])
        features = rows.features(np.arange(len(rows.labels))).numpy()
        similarity = features @ features[17]
        similarity[17] = -2
        answer = actions.neighbours(found, NeighboursPayload(position=17, top=5)).result
        assert answer["rows"] == np.argsort(-similarity, kind="stable")[:5].tolist()
