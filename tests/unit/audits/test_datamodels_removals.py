"""Removals, memorisation and values of the kind `datamodels`, against what networks would say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.stats import ttest_ind

from app.audits.base import Inputs, Result
from app.audits.datamodels import fit, memory, proof, removal, subsets, value
from app.audits.datamodels.page_run import run_context
from app.audits.datamodels.schema import DatamodelsSummary, Params
from app.audits.retraining import Retrained, read_plan
from app.errors import UserError

from .linear_networks import MODELS, ROWS, TARGETS, dense, inputs_of, split
from .planted_inputs import after


def proven(
    retrained: Callable[..., tuple[Inputs, np.ndarray]], tmp_path: Path, slope: float = 1.0
) -> tuple[Inputs, Result, np.ndarray]:
    """Inputs after `choose` and a retraining whose margins fall `slope` times as much as the truth says."""
    params = Params(retrain=MODELS, targets=TARGETS, top=5, counterfactuals=4, removed=4)
    inputs, truth = retrained(params)
    inputs = after(inputs, "fit", fit.fit(inputs), tmp_path)
    inputs = after(inputs, "choose", removal.choose(inputs), tmp_path)
    plan, rng = read_plan(tmp_path / "choose", ROWS), np.random.default_rng(8)
    own = np.load(inputs.earlier["fit"] / "targets.npy")
    columns = np.searchsorted(own, plan.targets)
    margins = slope * plan.masks @ truth[:, columns] + 0.05 * rng.normal(size=(len(plan.masks), len(columns)))
    details = {"models": np.arange(len(plan.masks)), "margins": margins.astype(np.float32), "right": margins > 0}
    details["own"] = np.zeros(plan.masks.shape, np.float32)
    inputs = after(inputs, "without", Result(summary={}, details=details), tmp_path)
    return inputs, proof.prove(inputs), margins


def test_removals_are_those_of_the_datamodel_of_similarity_and_of_chance(
    retrained: Callable[..., tuple[Inputs, np.ndarray]], tmp_path: Path
) -> None:
    inputs, _, _ = proven(retrained, tmp_path)
    plan, fitted = read_plan(tmp_path / "choose", ROWS), inputs.earlier["fit"]
    images, predicted = (np.load(tmp_path / "choose" / f"{name}.npy") for name in ("images", "predicted"))
    own, weights = np.load(fitted / "targets.npy"), dense(fit.fit(inputs))
    assert plan.masks.shape == ((1 + len(plan.targets) * 3) * 3, ROWS)
    assert plan.masks[:3].all()
    labels, classes = inputs.train.manifest["label"].to_numpy(), inputs.audited.manifest["label"].to_numpy()
    for j, target in enumerate(plan.targets):
        column = int(np.searchsorted(own, target))
        left = [np.flatnonzero(~plan.masks[3 * (1 + 3 * j + g)]) for g in range(3)]
        best = np.argsort(-weights[column])[:4]
        assert set(left[0]) == {i for i in best if weights[column][i] > 0}
        assert set(left[1]) == set(np.load(fitted / "similarity.rows.npy")[column][: len(left[0])])
        assert (labels[left[2]] == classes[target]).all()
        assert images[j].tolist() == [len(rows) for rows in left]
        np.testing.assert_allclose(predicted[j], [weights[column][rows].sum() for rows in left], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_what_came_of_removals_is_held_against_the_prediction(
    retrained: Callable[..., tuple[Inputs, np.ndarray]], tmp_path: Path, slope: float
) -> None:
    _, result, margins = proven(retrained, tmp_path, slope)
    found, table = result.summary["counterfactuals"], result.tables["predictions"].to_pylist()
    assert (found["method"], found["predictions"], found["repeats"]) == ("plain", 4, 3)
    assert [r["removed"] for r in found["removals"]] == ["datamodel", "similarity", "random"]
    assert found["check"]["correlation"]["value"] > 0.9
    assert found["check"]["slope"]["value"] == pytest.approx(slope, abs=0.2)
    drops = {name: [row["before"] - row["after"] for row in table if row["removed"] == name] for name in removal.NAMES}
    for r in found["removals"]:
        assert r["drop"]["value"] == pytest.approx(np.mean(drops[r["removed"]]), rel=1e-5)
        assert r["drop"]["low"] <= r["drop"]["value"] <= r["drop"]["high"]
    assert np.mean(drops["datamodel"]) > max(np.mean(drops["similarity"]), np.mean(drops["random"])) + 0.3
    j, g = 2, 1
    assert table[3 * j + g]["after"] == pytest.approx(margins[3 * (1 + 3 * j + g) :, j][:3].mean(), rel=1e-5)


def test_crashed_networks_are_left_out_of_the_proof() -> None:
    """Two predictions, one removal, three networks each; one network crashed, then all of a removal."""
    models = np.array([0, 1, 2, 4, 5])
    margins = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = Retrained(np.ones((5, 4), bool), np.array([7, 9]), models, margins, margins > 100, margins)
    came = proof.outcome(found, 1, 3)
    assert came.networks.tolist() == [[2], [0]]
    assert came.before[:, 0].tolist() == [2, 3]
    assert came.after[0, 0] == 7
    assert np.isnan(came.drop[1, 0])
    assert came.wrong[0, 0] == 1


def test_counterfactuals_without_datamodels_are_refused_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set `retrain`"):
        subsets.plan(inputs_of(Params(counterfactuals=3)))
    with pytest.raises(UserError, match="raise `top`"):
        removal.choose(inputs_of(Params(retrain=30, counterfactuals=3, top=5, removed=9)))
    inputs = inputs_of(Params(retrain=30, counterfactuals=3))
    after(inputs, "choose", removal.choose(inputs), tmp_path)
    assert len(read_plan(tmp_path / "choose", ROWS).masks) == 0, "every network crashed: there is nothing to remove"


def test_memorisation_and_its_error_are_welch_s(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, _ = retrained(Params(retrain=60, targets=TARGETS))
    table = memory.memorise(inputs).tables["train"]
    alone = subsets.roles(np.arange(60)).repeat == 0
    masks = read_plan(inputs.earlier["plan"], ROWS).masks[alone]
    own = np.load(inputs.earlier["retrain"] / "own.npy").astype(np.float64)[alone]
    for i in range(ROWS):
        inside, outside = own[masks[:, i], i], own[~masks[:, i], i]
        assert table["memorisation"][i].as_py() == pytest.approx(inside.mean() - outside.mean(), rel=1e-4, abs=1e-5)
        assert (table["inside"][i].as_py(), table["outside"][i].as_py()) == (len(inside), len(outside))
        welch = ttest_ind(inside, outside, equal_var=False).statistic
        assert table["memorisation"][i].as_py() / table["error"][i].as_py() == pytest.approx(welch, rel=1e-3)
    summary = memory.memorise(inputs).summary["memory"]
    assert summary["rows"] == ROWS
    assert 15 < summary["strong"] < 35, "planted from 0 to 5 log-odds"


def test_a_row_without_label_has_no_memorisation(tmp_path: Path) -> None:
    labels = np.arange(ROWS) % 3
    labels[4] = -1
    inputs = inputs_of(Params(retrain=30, targets=3), train=split("train", labels, 2))
    inputs = after(inputs, "plan", subsets.plan(inputs), tmp_path)
    assert not read_plan(tmp_path / "plan", ROWS).masks[:, 4].any()
    details = {"models": np.arange(30), "margins": np.zeros((30, 3), np.float32), "right": np.ones((30, 3), bool)}
    details["own"] = np.random.default_rng(0).normal(size=(30, ROWS)).astype(np.float32)
    inputs = after(inputs, "retrain", Result(summary={}, details=details), tmp_path)
    table = memory.memorise(inputs).tables["train"]
    assert table["memorisation"][4].as_py() is None
    assert table["memorisation"].null_count == 1


def peer_logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Softmax regression of three classes by SciPy, from the loss and its slope."""

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(x.shape[1], 3)
        scores = log_softmax(x @ weights, axis=1)
        slope = x.T @ (np.exp(scores) - np.eye(3)[y]) + value.PENALTY * weights
        return float(-scores[np.arange(len(y)), y].sum() + value.PENALTY / 2 * (weights**2).sum()), slope.ravel()

    return minimize(loss, np.zeros(x.shape[1] * 3), method="BFGS", jac=True).x.reshape(-1, 3)


def test_shapley_values_are_those_over_all_subsets() -> None:
    """Seven training images, every subset trained by SciPy's optimiser, the exact average of marginal gains."""
    train = split("train", np.array([0, 0, 1, 1, 2, 2, 0]), 2)
    inputs = inputs_of(Params(shapley=4000), train=train)
    game = value.game_of(inputs, np.arange(7))
    worth = {(): 1 / 3}
    for size in range(1, 8):
        for rows in combinations(range(7), size):
            weights = peer_logistic(game.x[list(rows)], game.y[list(rows)])
            worth[rows] = float(((game.judges @ weights).argmax(axis=1) == game.truth).mean())
    exact = np.zeros(7)
    for rows, of_rows in worth.items():
        for i in set(range(7)) - set(rows):
            weight = factorial(len(rows)) * factorial(6 - len(rows)) / factorial(7)
            exact[i] += weight * (worth[tuple(sorted((*rows, i)))] - of_rows)
    table = value.value(inputs).tables["values"]
    found, errors = (np.array(table[name].to_pylist()) for name in ("value", "error"))
    assert (np.abs(found - exact) < 4 * errors + 0.02).all()
    assert np.abs(found - exact).max() < 0.05


def test_a_wrong_label_is_worth_less_than_its_peers() -> None:
    labels = np.arange(60) % 3
    train = split("train", labels, 2)
    wrong = labels.copy()
    wrong[:6] = (wrong[:6] + 1) % 3
    train = replace(train, manifest=train.manifest.set_column(1, "label", pa.array(wrong, pa.int32())))
    audited = split("test", np.arange(90) % 3, 5)
    result = value.value(inputs_of(Params(shapley=60), train=train, audited=audited))
    values = np.array(result.tables["values"]["value"].to_pylist())
    assert values[:6].mean() < values[6:].mean() - 0.005
    assert result.summary["values"]["orders"] == 60


def test_removals_stand_on_the_run_s_page(retrained: Callable[..., tuple[Inputs, np.ndarray]], tmp_path: Path) -> None:
    inputs, result, _ = proven(retrained, tmp_path)
    summary = DatamodelsSummary.model_validate_json((inputs.earlier["fit"] / "summary.json").read_text())
    context = run_context(summary.model_dump(mode="json") | result.summary)
    assert [row.title.split()[-1] for row in context.removals] == ["helpful", "similar", "class"]
    low, high = context.removal_scale
    assert all(low <= row.predicted <= high and low <= row.drop.high <= high for row in context.removals)
    assert context.removal_check.correlation.n == 4
