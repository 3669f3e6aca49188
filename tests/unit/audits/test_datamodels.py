"""The kind `datamodels` on networks whose outputs are known functions of their training rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import linregress, spearmanr

from app.audits.base import Inputs
from app.audits.datamodels import fit, gathered, memory, subsets, value
from app.audits.datamodels.kept import Group, KeptDatamodel
from app.audits.datamodels.page_run import run_context
from app.audits.datamodels.schema import FitSummary, Params, ranked
from app.audits.retraining import read_plan
from app.errors import UserError

from .linear_networks import HELD, MODELS, ROWS, TARGETS, dense, inputs_of, split
from .planted_inputs import after


def test_of_every_ten_networks_two_judge_on_one_subset_whatever_the_number() -> None:
    few, many = subsets.roles(np.arange(40)), subsets.roles(np.arange(2000))
    for short, long in zip(few, many, strict=True):
        np.testing.assert_array_equal(short, long[:40])
    assert many.held.sum() == 200
    assert not many.held[1000:].any()
    for pair in np.flatnonzero(many.held).reshape(-1, 2):
        assert many.subset[pair[0]] == many.subset[pair[1]]
        assert many.repeat[pair].tolist() == [0, 1]
    alone = many.repeat == 0
    assert len(np.unique(many.subset[alone])) == alone.sum() == many.subset.max() + 1


def test_networks_on_one_subset_have_different_seeds(tmp_path: Path) -> None:
    plans = []
    for count in (30, 50):
        inputs = inputs_of(Params(retrain=count, targets=TARGETS))
        (tmp_path / str(count)).mkdir()
        after(inputs, "plan", subsets.plan(inputs), tmp_path / str(count))
        plans.append(read_plan(tmp_path / str(count) / "plan", ROWS))
    np.testing.assert_array_equal(plans[0].masks, plans[1].masks[:30])
    np.testing.assert_array_equal(plans[0].seeds, plans[1].seeds[:30])
    assert (plans[0].masks.sum(axis=1) == ROWS // 2).all()
    np.testing.assert_array_equal(plans[0].masks[8], plans[0].masks[9])
    assert len(set(plans[1].seeds.tolist())) == 50


def test_plain_datamodels_find_the_planted_weights(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, truth = retrained(Params(retrain=MODELS, targets=TARGETS, top=5))
    result = fit.fit(inputs)
    np.testing.assert_allclose(dense(result).T, truth, atol=0.25)
    summary = result.summary
    assert (summary["models"], summary["held_out"], summary["targets"]) == (MODELS, HELD, TARGETS)
    assert (summary["repeats"], summary["best"]) == (2, "plain")
    found = {m["method"]: m for m in summary["methods"]}
    assert {name for name, m in found.items() if not m["reason"]} == {"plain", "subset", "similarity"}
    assert "gradients" in summary["no_gradients"]
    assert "gradients" in found["trak"]["reason"], "without gradients nothing weighs"
    assert found["plain"]["lds"] > 0.85
    assert found["plain"]["r2"] > 0.8
    assert found["plain"]["lds"] > found["subset"]["lds"] > found["similarity"]["lds"]
    rows, scores, weights = result.details["plain.rows"], result.details["plain.scores"], dense(result)
    for j in range(TARGETS):
        np.testing.assert_allclose(scores[j], weights[j][rows[j]], rtol=1e-6)
        assert scores[j][0] == pytest.approx(weights[j].max())
        assert scores[j][-1] == pytest.approx(weights[j].min())


def test_networks_that_judge_have_no_part_in_the_fit(
    retrained: Callable[..., tuple[Inputs, np.ndarray]], tmp_path: Path
) -> None:
    inputs, _ = retrained(Params(retrain=60, targets=4, top=5))
    before = fit.fit(inputs)
    path = inputs.earlier["retrain"] / "margins.npy"
    margins = np.load(path)
    held = subsets.roles(np.arange(60)).held
    margins[held] = np.random.default_rng(9).normal(size=(held.sum(), 4))
    np.save(path, margins)
    changed = fit.fit(inputs)
    np.testing.assert_array_equal(before.details["plain.weights"], changed.details["plain.weights"])
    assert before.summary["methods"] != changed.summary["methods"]


def test_the_check_is_a_regression_of_held_out_outputs_on_predictions(
    retrained: Callable[..., tuple[Inputs, np.ndarray]],
) -> None:
    """Scores, correlation, slope and error again, from the plan, the margins and the kept weights alone."""
    inputs, _ = retrained(Params(retrain=100, targets=TARGETS, top=5), noise=1.0)
    result = fit.fit(inputs)
    plan, margins = read_plan(inputs.earlier["plan"], ROWS), np.load(inputs.earlier["retrain"] / "margins.npy")
    first = np.array([10 * t + 8 for t in range(10)])
    actual = (margins[first] + margins[first + 1]) / 2
    predicted = plan.masks[first] @ dense(result).T + result.details["plain.intercepts"]
    np.testing.assert_allclose(result.details["plain.predicted"], predicted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.details["actual"], actual, rtol=1e-5)
    found = next(m for m in result.summary["methods"] if m["method"] == "plain")
    scores = [spearmanr(predicted[:, j], actual[:, j]).statistic for j in range(TARGETS)]
    assert found["lds"] == pytest.approx(np.mean(scores), abs=1e-6)
    peer = linregress((predicted - predicted.mean(axis=0)).ravel(), (actual - actual.mean(axis=0)).ravel())
    check = found["check"]
    assert check["correlation"]["value"] == pytest.approx(peer.rvalue, rel=1e-4)
    assert check["slope"]["value"] == pytest.approx(peer.slope, rel=1e-4)
    assert check["error"]["value"] == pytest.approx(np.abs(actual - predicted).mean(), rel=1e-4)
    assert (check["rows"], check["columns"]) == (10, TARGETS)
    assert check["slope"]["low"] < check["slope"]["value"] < check["slope"]["high"]
    single = [spearmanr(margins[first, j], margins[first + 1, j]).statistic for j in range(TARGETS)]
    assert result.summary["repeatability"] == pytest.approx(np.mean(single), abs=1e-6)
    assert result.summary["ceiling"] == pytest.approx(np.sqrt(2 * np.mean(single) / (1 + np.mean(single))), abs=1e-6)
    table = result.tables["targets"]
    np.testing.assert_allclose(table["plain.error"], np.sqrt(np.square(actual - predicted).mean(axis=0)), rtol=1e-3)


def test_held_out_r2_is_that_of_held_out_networks(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    """Noise alone cannot be predicted: its R² is about zero or below, never the flattering one of the fit."""
    inputs, _ = retrained(Params(retrain=60, targets=TARGETS, top=5), noise=30.0)
    summary = fit.fit(inputs).summary
    assert max(m["r2"] for m in summary["methods"] if m["r2"] is not None) < 0.1


def test_a_method_that_similarity_beats_is_never_first() -> None:
    methods = [FitSummary(method="plain", lds=0.3), FitSummary(method="weighted", reason="no gradients")]
    methods += [FitSummary(method="similarity", lds=0.3), FitSummary(method="subset", lds=0.35)]
    assert [m.method for m in ranked(methods)] == ["subset", "similarity", "plain", "weighted"]


def test_support_is_the_fewest_rows_whose_removal_turns_the_margin() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(7, 60))
    everything = weights.sum(axis=0) + rng.normal(size=60)
    found = gathered.support(torch.tensor(weights), torch.tensor(everything)).tolist()
    for j in range(60):
        fewest = [
            size for size in range(8)
            if any(everything[j] - weights[list(rows), j].sum() < 0 for rows in combinations(range(7), size))
        ]  # fmt: skip
        assert found[j] == (min(fewest) if fewest else -1)
    assert -1 in found
    assert len(set(found)) > 3


def test_tables_tell_margins_and_mean_weights(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, _ = retrained(Params(retrain=MODELS, targets=TARGETS, top=5))
    result = fit.fit(inputs)
    table, weights = result.tables["targets"], dense(result)
    assert table["row"].to_pylist() == (1000 + result.details["targets"]).tolist()
    np.testing.assert_allclose(
        table["plain.margin"], weights.sum(axis=1) + result.details["plain.intercepts"], rtol=1e-4
    )
    assert table["plain.weights"].to_pylist() == (weights != 0).sum(axis=1).tolist()
    train = result.tables["train"]
    np.testing.assert_allclose(train["plain.mean"], weights.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(train["plain.mean_error"], weights.std(axis=0, ddof=1) / np.sqrt(TARGETS), atol=1e-6)
    labels = inputs.audited.manifest["label"].to_numpy()[result.details["targets"]]
    wrong = inputs.audited.logits[result.details["targets"]].argmax(axis=1) != labels
    np.testing.assert_allclose(train["plain.wrong"], weights[wrong].sum(axis=0) / max(wrong.sum(), 1), atol=1e-6)


def test_a_mean_datamodel_predicts_groups_and_knows_its_error(
    retrained: Callable[..., tuple[Inputs, np.ndarray]],
) -> None:
    inputs, _ = retrained(Params(retrain=100, targets=TARGETS, top=5))
    result = fit.fit(inputs)
    kept = KeptDatamodel("plain", ROWS, lambda name: result.details[name])
    some, rows, weights = np.array([1, 4, 7]), np.array([0, 3, 30]), dense(result)
    mean = kept.mean(some)
    masks = np.ones((2, ROWS))
    masks[0, rows], masks[1] = 0, np.isin(np.arange(ROWS), rows)
    expected = (masks @ weights[some].T + result.details["plain.intercepts"][some]).mean(axis=1)
    assert [mean.without(Group(rows)), mean.only(Group(rows))] == pytest.approx(expected.tolist(), rel=1e-5)
    missed = (result.details["actual"] - result.details["plain.predicted"])[:, some].mean(axis=1)
    assert mean.error == pytest.approx(np.sqrt(np.square(missed).mean()), rel=1e-5)
    assert (mean.subsets, mean.targets) == (10, 3)
    assert (mean.weights[mean.top(5)] > 0).all()
    assert (mean.weights[mean.bottom(5)] < 0).all()
    columns, felt = kept.felt(3)
    assert columns.tolist() == np.flatnonzero(weights[:, 3]).tolist()
    np.testing.assert_allclose(felt, weights[columns, 3], rtol=1e-6)


def test_of_many_weights_the_largest_are_kept_and_of_the_others_the_sum_of_each_class(
    retrained: Callable[..., tuple[Inputs, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, _ = retrained(Params(retrain=100, targets=4, top=5))
    labels = inputs.train.manifest["label"].to_numpy()
    means = []
    for most in (4096, 3):
        monkeypatch.setattr(gathered, "MOST_WEIGHTS", most)
        result = fit.fit(inputs)
        kept = KeptDatamodel("plain", ROWS, lambda name, details=result.details: details[name])
        means.append(kept.mean(np.array([0, 2])))
    whole, few = means
    assert (few.weights != 0).sum() <= 6 < (whole.weights != 0).sum()
    assert few.everything() == pytest.approx(whole.everything(), rel=1e-4)
    np.testing.assert_allclose(few.by_class(labels), whole.by_class(labels), atol=1e-5)
    of_class = Group(np.flatnonzero(labels == 1), 1)
    assert few.without(of_class) == pytest.approx(whole.without(of_class), rel=1e-4)
    assert few.only(of_class) == pytest.approx(whole.only(of_class), rel=1e-4)
    assert few.error == pytest.approx(whole.error), "what judges is never cut"


def test_what_cannot_be_done_is_said() -> None:
    nothing = fit.fit(inputs_of(Params()))
    assert "set how many" in nothing.summary["unavailable"]
    assert "set how many" in run_context(nothing.summary).unavailable
    with pytest.raises(UserError, match="at least 30"):
        subsets.plan(inputs_of(Params(retrain=5)))
    hidden = replace(split("train", np.arange(9) % 3, 2), features=None)
    assert "penultimate" in value.value(inputs_of(Params(shapley=3), train=hidden)).summary["no_values"]
    large = split("train", np.arange(1200) % 3, 2)
    assert "1,200" in value.value(inputs_of(Params(shapley=3), train=large)).summary["no_values"]


def test_the_panel_tells_methods_and_values(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, _ = retrained(Params(retrain=60, targets=5, shapley=10))
    summary = fit.fit(inputs).summary | memory.memorise(inputs).summary | value.value(inputs).summary
    context = run_context(summary)
    assert context.methods[0].title == "Datamodel"
    assert [row.reason for row in context.methods[-2:]] == [summary["no_gradients"]] * 2
    assert context.methods[0].check is not None
    assert context.methods[0].check.slope.n == 6 * 5
    assert "12 of the networks only judge" in context.sentences[0]
    assert any("memorised" in sentence for sentence in context.sentences)
    assert any("Data Shapley over 10 orders" in sentence for sentence in context.sentences)
