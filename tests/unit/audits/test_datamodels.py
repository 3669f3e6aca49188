"""The kind `datamodels` on networks whose outputs are known functions of their training rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.stats import ttest_ind

from app.audits.base import Inputs, Result, Split
from app.audits.datamodels import fit, memory, subsets, value
from app.audits.datamodels.page import run_context
from app.audits.datamodels.schema import Params
from app.audits.retraining import read_plan
from app.errors import UserError

from .planted_inputs import after

ROWS, TARGETS, MODELS = 40, 12, 400


def split(name: str, labels: np.ndarray, seed: int, width: int = 5) -> Split:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(labels), width)).astype(np.float32)
    features[np.arange(len(labels)), labels.clip(0)] += 2
    manifest = pa.table({"row": np.arange(len(labels)) + 1000 * seed, "label": labels.astype(np.int32)})
    return Split(name, manifest, features, features[:, :3], features)


def inputs_of(params: Params, train: Split | None = None, audited: Split | None = None) -> Inputs:
    labels = np.arange(ROWS) % 3
    return Inputs(
        audited or split("test", np.arange(30) % 3, 1), train or split("train", labels, 2), ("a", "b", "c"), params,
        0, "cpu", None, {}, lambda _share, _message: None,
    )  # fmt: skip


@pytest.fixture
def retrained(tmp_path: Path) -> Callable[..., tuple[Inputs, np.ndarray]]:
    """Inputs after plan and retraining: margins are a sparse linear function of the mask, and noise."""

    def made(params: Params, noise: float = 0.3) -> tuple[Inputs, np.ndarray]:
        inputs = inputs_of(params)
        inputs = after(inputs, "plan", subsets.plan(inputs), tmp_path)
        plan, rng = read_plan(tmp_path / "plan", ROWS), np.random.default_rng(3)
        truth = np.where(rng.random((ROWS, len(plan.targets))) < 0.15, rng.normal(size=(ROWS, len(plan.targets))), 0)
        margins = plan.masks @ truth + 0.5 + noise * rng.normal(size=(len(plan.masks), len(plan.targets)))
        own = rng.normal(size=plan.masks.shape) + plan.masks * np.linspace(0, 5, ROWS)
        details = {"models": np.arange(len(plan.masks)), "margins": margins.astype(np.float32)}
        details |= {"right": margins > 0, "own": own.astype(np.float32)}
        return after(inputs, "retrain", Result(summary={}, details=details), tmp_path), truth

    return made


def test_plain_datamodels_find_the_planted_weights(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, truth = retrained(Params(retrain=MODELS, targets=TARGETS, top=5))
    result = fit.fit(inputs)
    np.testing.assert_allclose(result.details["weights"].T, truth, atol=0.25)
    summary = result.summary
    assert (summary["models"], summary["held_out"], summary["targets"]) == (MODELS, 80, TARGETS)
    found = {m["method"]: m for m in summary["methods"]}
    assert set(found) == {"plain", "subset"}, "without gradients nothing weighs"
    assert "gradients" in summary["no_gradients"]
    assert found["plain"]["lds"] > 0.85
    assert found["plain"]["r2"] > 0.8
    assert found["plain"]["lds"] > found["subset"]["lds"]
    rows, scores = result.details["rows"], result.details["scores"]
    for j in range(TARGETS):
        np.testing.assert_allclose(scores[j], result.details["weights"][j][rows[j]])
        assert scores[j][0] == result.details["weights"][j].max()
        assert scores[j][-1] == result.details["weights"][j].min()


def test_held_out_r2_is_that_of_held_out_networks(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    """Noise alone cannot be predicted: its R² is about zero or below, never the flattering one of the fit."""
    inputs, _ = retrained(Params(retrain=60, targets=TARGETS, top=5), noise=30.0)
    summary = fit.fit(inputs).summary
    assert max(m["r2"] for m in summary["methods"] if m["r2"] is not None) < 0.1
    assert summary["methods"][0]["low"] < 0.3


def test_support_is_the_fewest_rows_whose_removal_turns_the_margin() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(7, 60))
    everything = weights.sum(axis=0) + rng.normal(size=60)
    found = fit.support(torch.tensor(weights), torch.tensor(everything))
    for j in range(60):
        fewest = [
            size for size in range(8)
            if any(everything[j] - weights[list(rows), j].sum() < 0 for rows in combinations(range(7), size))
        ]  # fmt: skip
        assert found[j] == (min(fewest) if fewest else None)
    assert None in found
    assert len(set(found)) > 3


def test_targets_table_tells_the_predicted_counterfactual(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, _ = retrained(Params(retrain=MODELS, targets=TARGETS, top=5))
    result = fit.fit(inputs)
    table, weights = result.tables["targets"], result.details["weights"]
    assert table["row"].to_pylist() == (1000 + result.details["targets"]).tolist()
    np.testing.assert_allclose(table["margin"], weights.sum(axis=1) + result.details["intercepts"], rtol=1e-4)
    assert table["weights"].to_pylist() == (weights != 0).sum(axis=1).tolist()


def test_memorisation_and_its_error_are_welch_s(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, _ = retrained(Params(retrain=60, targets=TARGETS))
    table = memory.memorise(inputs).tables["train"]
    masks = read_plan(inputs.earlier["plan"], ROWS).masks
    own = np.load(inputs.earlier["retrain"] / "own.npy").astype(np.float64)
    for i in range(ROWS):
        inside, outside = own[masks[:, i], i], own[~masks[:, i], i]
        assert table["memorisation"][i].as_py() == pytest.approx(inside.mean() - outside.mean(), rel=1e-4, abs=1e-5)
        welch = ttest_ind(inside, outside, equal_var=False).statistic
        assert table["memorisation"][i].as_py() / table["error"][i].as_py() == pytest.approx(welch, rel=1e-3)
    summary = memory.memorise(inputs).summary["memory"]
    assert summary["rows"] == ROWS
    assert 15 < summary["strong"] < 35, "planted from 0 to 5 log-odds"


def test_a_row_without_label_has_no_memorisation(tmp_path: Path) -> None:
    labels = np.arange(ROWS) % 3
    labels[4] = -1
    inputs = inputs_of(Params(retrain=20, targets=3), train=split("train", labels, 2))
    inputs = after(inputs, "plan", subsets.plan(inputs), tmp_path)
    assert not read_plan(tmp_path / "plan", ROWS).masks[:, 4].any()
    details = {"models": np.arange(20), "margins": np.zeros((20, 3), np.float32), "right": np.ones((20, 3), bool)}
    details["own"] = np.random.default_rng(0).normal(size=(20, ROWS)).astype(np.float32)
    inputs = after(inputs, "retrain", Result(summary={}, details=details), tmp_path)
    table = memory.memorise(inputs).tables["train"]
    assert table["memorisation"][4].as_py() is None
    assert table["memorisation"].null_count == 1


def peer_logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Softmax regression of three classes by SciPy, from the loss alone."""

    def loss(flat: np.ndarray) -> float:
        weights = flat.reshape(x.shape[1], 3)
        scores = log_softmax(x @ weights, axis=1)
        return float(-scores[np.arange(len(y)), y].sum() + value.PENALTY / 2 * (weights**2).sum())

    return minimize(loss, np.zeros(x.shape[1] * 3), method="BFGS").x.reshape(-1, 3)


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


def test_what_cannot_be_done_is_said() -> None:
    nothing = fit.fit(inputs_of(Params()))
    assert "set how many" in nothing.summary["unavailable"]
    assert "set how many" in run_context(nothing.summary).unavailable
    with pytest.raises(UserError, match="at least 20"):
        subsets.plan(inputs_of(Params(retrain=5)))
    hidden = replace(split("train", np.arange(9) % 3, 2), features=None)
    assert "penultimate" in value.value(inputs_of(Params(shapley=3), train=hidden)).summary["no_values"]
    large = split("train", np.arange(1200) % 3, 2)
    assert "1,200" in value.value(inputs_of(Params(shapley=3), train=large)).summary["no_values"]


def test_the_panel_tells_methods_and_values(retrained: Callable[..., tuple[Inputs, np.ndarray]]) -> None:
    inputs, _ = retrained(Params(retrain=60, targets=5, shapley=10))
    summary = fit.fit(inputs).summary | memory.memorise(inputs).summary | value.value(inputs).summary
    context = run_context(summary)
    assert [row.title for row in context.methods][-1] in {"Datamodel", "Subsampled influence"}
    assert any("memorised" in sentence for sentence in context.sentences)
    assert any("Data Shapley over 10 orders" in sentence for sentence in context.sentences)
