"""Plans of retraining, and what removals are counted as, against independent figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import binomtest, spearmanr

from app.audits.base import Inputs, Result, Split
from app.audits.influence import proof, removal, subsets
from app.audits.influence.ridge import choose_ridge
from app.audits.influence.schema import Params
from app.audits.influence.scores import Attributor
from app.audits.retraining import Retrained, RetrainPlan, StoredPlan, by_subset, random_subsets, sample_targets
from app.errors import UserError
from app.numerics.attribution.agreed_ridge import agreed_ridge
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import DEFAULT_RIDGE

from .planted_inputs import after

LABELS = np.array([0, 1, 2, 0, 1, -1, 2, 0, 1, 2, 0, 1], np.int32)


def test_a_longer_plan_begins_as_a_shorter_one() -> None:
    short, long = random_subsets(LABELS, 5, 0.5, 3, repeats=2), random_subsets(LABELS, 9, 0.5, 3, repeats=2)
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a, b[:10])
    masks, seeds = long
    assert (masks[::2] == masks[1::2]).all()
    assert len(set(seeds.tolist())) == 18, "the same rows, another seed"
    assert not masks[:, 5].any(), "a row without a label teaches nothing"
    assert (masks.sum(axis=1) == 6).all()
    assert not (random_subsets(LABELS, 9, 0.5, 4)[0] == masks[::2]).all()


def test_each_row_is_in_its_share_of_subsets() -> None:
    masks, _ = random_subsets(LABELS, 3000, 0.3, 0)
    assert (masks.sum(axis=1) == 3).all()
    known = masks[:, LABELS >= 0].mean(axis=0)
    assert np.abs(known - 3 / 11).max() < 0.04


def test_targets_are_a_sorted_sample() -> None:
    found = sample_targets(100, 30, 0)
    assert len(set(found.tolist())) == 30
    assert (np.diff(found) > 0).all()
    assert sample_targets(10, 30, 0).tolist() == list(range(10))


def test_a_stored_plan_gives_any_part_of_it(tmp_path: Path) -> None:
    masks, seeds = random_subsets(LABELS, 7, 0.5, 0)
    plan = RetrainPlan(masks, seeds, np.array([1, 4]))
    for name, array in plan.result().details.items():
        np.save(tmp_path / f"{name}.npy", array)
    stored = StoredPlan(tmp_path, len(LABELS))
    assert len(stored) == 7
    np.testing.assert_array_equal(stored.part(2, 5).masks, masks[2:5])
    np.testing.assert_array_equal(stored.part(2, 5).seeds, seeds[2:5])
    prints = {stored.fingerprint(i, j) for i in range(7) for j in range(i + 1, 8)}
    assert len(prints) == 28, "no two parts are confused"


def test_noise_and_what_is_measured_make_other_networks(tmp_path: Path) -> None:
    masks, seeds = random_subsets(LABELS, 3, 0.5, 0)
    plan = RetrainPlan(masks, seeds, np.array([1, 4]))
    prints = set()
    for number, noise in enumerate((None, [0.0, 0.0, 0.0], [0.1, 0.2, 0.3])):
        folder = tmp_path / str(number)
        folder.mkdir()
        noisy = plan if noise is None else plan._replace(noise=np.array(noise))
        for name, array in noisy.result().details.items():
            np.save(folder / f"{name}.npy", array)
        part = StoredPlan(folder, len(LABELS)).part(1, 3)
        assert (part.noise is None) == (noise is None)
        assert noise is None or part.noise.tolist() == noise[1:]  # type: ignore[union-attr]
        for measures in (None, {"seed": 1}, {"seed": 2}):
            prints.add(StoredPlan(folder, len(LABELS), measures).fingerprint(0, 3))
    assert len(prints) == 9


def test_a_subset_with_a_crashed_network_is_left_out() -> None:
    masks, _ = random_subsets(LABELS, 4, 0.5, 0, repeats=2)
    there = np.array([0, 1, 3, 4, 5, 6, 7])
    margins = np.arange(14, dtype=np.float32).reshape(7, 2)
    found = Retrained(masks[there], np.array([0, 1]), there, margins, margins > 0, np.zeros((7, 12), np.float32))
    kept, truth = by_subset(found, 2)
    np.testing.assert_array_equal(kept, masks[[0, 4, 6]])
    np.testing.assert_array_equal(truth[0], margins[[0, 3, 5]])
    np.testing.assert_array_equal(truth[1], margins[[1, 4, 6]])


def split(name: str, labels: np.ndarray, seed: int, matrix: np.ndarray | None = None) -> Split:
    rng = np.random.default_rng(seed)
    manifest = pa.table({"row": np.arange(len(labels)), "label": labels.astype(np.int32)})
    logits = rng.normal(size=(len(labels), 3)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 6
    features = rng.normal(size=(len(labels), 6)).astype(np.float32)
    model = {}
    if matrix is not None:
        codes, scales = quantise(torch.from_numpy(matrix.astype(np.float32)))
        model = {"gradients.codes-0": codes.numpy(), "gradients.scales-0": scales.numpy()}
        model["gradients.doubt-0"] = np.full(len(labels), 0.5, np.float32)
    return Split(name, manifest, features, logits, features, model)


def inputs_of(params: Params, train: Split, audited: Split) -> Inputs:
    return Inputs(audited, train, ("a", "b", "c"), params, 0, "cpu", None, {}, lambda _share, _message: None)


def test_flips_and_falls_are_counted_over_predictions_that_were_right(tmp_path: Path) -> None:
    """Four predictions, two methods and chance, three seeds: majority votes, Wilson's interval, mean falls."""
    params = Params(top=5, removed=4, counterfactuals=4, removal_repeats=3)
    inputs = inputs_of(params, split("train", np.arange(30) % 3, 0), split("test", np.arange(12) % 3, 1))
    methods = [{"method": "knn_shapley"}, {"method": "similarity"}, {"method": "trak", "reason": "no gradients"}]
    rows = np.random.default_rng(0).permuted(np.tile(np.arange(30), (12, 1)), axis=1)[:, :10].astype(np.int32)
    lists = Result(summary={"methods": methods}, details={f"{m}.rows": rows for m in ("knn_shapley", "similarity")})
    inputs = after(inputs, "attribute", lists, tmp_path)
    inputs = after(inputs, "prove", Result(summary={"methods": methods}), tmp_path)
    inputs = after(inputs, "choose", removal.choose(inputs), tmp_path)
    plan = StoredPlan(tmp_path / "choose", 30).part(0, 39)
    assert plan.masks[:3].all()
    for j, target in enumerate(plan.targets):
        for place in range(2):
            gone = ~plan.masks[3 + 9 * j + 3 * place]
            assert set(np.flatnonzero(gone)) == set(rows[target][:4].tolist())
        at_random = np.flatnonzero(~plan.masks[3 + 9 * j + 6])
        assert len(at_random) == 4
        assert (at_random % 3 == target % 3).all(), "random images of the same class"
    margins = np.zeros((39, 4), np.float32)
    right = np.ones((39, 4), bool)
    margins[:3] = [[2, 3, 4, 5], [2, 3, 4, 5], [2, 3, 4, 8]]
    right[:2, 3] = False  # the last prediction is wrong even with all images
    for j in range(4):
        margins[3 + 9 * j : 6 + 9 * j, j] = [1, 1, -2]
        right[3 + 9 * j : 6 + 9 * j, j] = [False, j == 0, False]
    details = {"models": np.arange(39), "margins": margins, "right": right, "own": np.zeros((39, 30), np.float32)}
    found = removal.flip(after(inputs, "without", Result(summary={}, details=details), tmp_path)).summary
    first, second, third = found["methods"]
    interval = binomtest(3, 3).proportion_ci(method="wilson")
    assert (first["removal"]["predictions"], first["removal"]["flipped"]) == (3, 3)
    assert first["removal"]["low"] == pytest.approx(interval.low)
    assert first["removal"]["drop"] == pytest.approx(np.mean([2, 3, 4]) - 0)
    assert first["removal"]["drop_low"] >= 2 - 1e-6
    assert first["removal"]["drop_high"] <= 4 + 1e-6
    assert second["removal"]["flipped"] == found["random_removal"]["flipped"] == 0
    assert third["removal"] is None
    with pytest.raises(UserError, match="raise `top`"):
        removal.choose(replace(inputs, params=params.model_copy(update={"removed": 50})))


def test_the_ridge_is_chosen_by_retraining_and_judged_by_other_halves(tmp_path: Path) -> None:
    """Margins follow a ridge regression with a ridge of 10: that one must win, and the score is of the second half."""
    rng, n, k = np.random.default_rng(0), 60, 40
    x, z = rng.normal(size=(n, k)) * np.linspace(3, 0.3, k), rng.normal(size=(40, k)) * np.linspace(3, 0.3, k)
    moment = x.T @ x
    true = x @ np.linalg.solve(moment + 10 * moment.trace() / k * np.eye(k), z.T)
    params = Params(features=64, top=5, retrain=60, repeats=2, proof_targets=40)
    inputs = inputs_of(params, split("train", np.arange(n) % 3, 0, x), split("test", np.arange(40) % 3, 1, z))
    inputs = after(inputs, "plan", subsets.plan(inputs), tmp_path)
    plan = StoredPlan(tmp_path / "plan", n).part(0, 120)
    margins = plan.masks @ true[:, plan.targets]
    margins += 0.5 * margins.std() * rng.normal(size=margins.shape)
    details = {"models": np.arange(120), "margins": margins.astype(np.float32), "right": margins > 0}
    details["own"] = np.zeros((120, n), np.float32)
    inputs = after(inputs, "retrain", Result(summary={}, details=details), tmp_path)
    assert inputs.train is not None
    found = Attributor(inputs, inputs.train, inputs.audited)
    chosen = choose_ridge(found)
    assert chosen is not None
    assert chosen.by == "retrained"
    assert found.ridge is not None
    assert 4 < found.ridge < 40
    assert max(chosen.curve, key=lambda point: point.value).ridge == found.ridge
    summary = {"methods": [{"method": m} for m in found.methods], "ridge": found.ridge, "ridge_by": chosen.by}
    inputs = after(inputs, "attribute", Result(summary=summary), tmp_path)
    result = proof.prove(inputs)
    assert result.summary["proof"]["subsets"] == 30
    trak = next(m for m in result.summary["methods"] if m["method"] == "trak")
    scores = found.methods["trak"](plan.targets).numpy()
    truth = margins.reshape(60, 2, 40).mean(axis=1)[30:]
    expected = [spearmanr(plan.masks[::2][30:] @ scores[:, j], truth[:, j]).statistic for j in range(40)]
    assert trak["lds"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert trak["low"] < trak["lds"] < trak["high"]
    assert trak["lds"] > 0.6
    json.dumps(result.summary)


@pytest.mark.parametrize(("count", "asked", "by"), [(1, None, "usual"), (3, None, "checkpoints"), (3, 7.0, "given")])
def test_without_retraining_checkpoints_choose_the_ridge(count: int, asked: float | None, by: str) -> None:
    rng, model = np.random.default_rng(0), []
    common = rng.normal(size=(100, 40)) * np.linspace(3, 0.3, 40)
    for rows in (slice(0, 60), slice(60, 100)):
        found: dict[str, np.ndarray] = {}
        for c in range(count):
            codes, scales = quantise(torch.from_numpy(common[rows] + rng.normal(size=common[rows].shape)).float())
            found |= {f"gradients.codes-{c}": codes.numpy(), f"gradients.scales-{c}": scales.numpy()}
            found[f"gradients.doubt-{c}"] = np.full(len(codes), 0.5, np.float32)
        model.append(found)
    train, test = split("train", np.arange(60) % 3, 0), split("test", np.arange(40) % 3, 1)
    params = Params(features=64, top=5, ridge=asked)
    inputs = inputs_of(params, replace(train, model=model[0]), replace(test, model=model[1]))
    attributor = Attributor(inputs, replace(train, model=model[0]), replace(test, model=model[1]))
    chosen = choose_ridge(attributor)
    assert chosen is not None
    assert chosen.by == by
    if by == "checkpoints":
        assert attributor.ridge == pytest.approx(agreed_ridge(attributor.points(np.arange(40))).ridge)
        assert len(chosen.curve) == 11
    else:
        assert (attributor.ridge, chosen.curve) == (asked or DEFAULT_RIDGE, [])


def test_too_few_training_images_are_said() -> None:
    small = inputs_of(Params(retrain=3), split("train", np.arange(6) % 3, 0), split("test", np.arange(6) % 3, 1))
    with pytest.raises(UserError, match="6 labelled images; random halves need at least 10"):
        subsets.plan(small)
