"""The kind `influence` from upload to score lists: real files, a real sandboxed child, two checkpoints."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load
from torch import Tensor

from app.audits.influence.group import behind_slice
from app.audits.influence.group_schema import GroupAnswer, GroupPayload
from app.audits.influence.scores import Attributor
from app.loaders.models.layers import build_layers
from app.numerics.attribution import ekfac
from app.numerics.attribution.outputs import OutputFunction, cross_entropy, doubt, margin
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.attribution.tracin import tracin
from app.store.images import DatasetImages
from app.store.models import AuditRun, Checkpoint, Dataset, ModelVersion, Query
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from workers import warm
from workers.stages import fit_model
from workers.stages.answer import _inputs as inputs_of
from workers.testing import Twin

pytestmark = pytest.mark.xdist_group("influence-chain")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditRun]:
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("inf"), patch, shard_rows="7"):
        twin = Twin()
        with transaction() as session:
            dataset = build.dataset(session, build.project(session), build.images_zip())
        twin.run_workflow("import_dataset", dataset.id)
        with transaction() as session:
            version = build.version(session, dataset.project_id, build.weights())
            later = get_blobs().put([build.weights(1)])
            session.add(
                Checkpoint(version_id=version.id, position=1, filename="l", sha256=later.sha256, size=later.size)
            )
        twin.run_workflow("check_model", version.id)
        with transaction() as session:
            data, net = session.get_one(Dataset, dataset.id), session.get_one(ModelVersion, version.id)
            run = build.run(session, data, net, kinds=["influence"], params={"influence": {"features": 2000, "top": 5}})
        twin.run_workflow("audit_run", run.id)
        with reading() as session:
            yield session.get_one(AuditRun, run.id)
        warm._drop_child()


def images(run: AuditRun) -> tuple[Tensor, Tensor]:
    """The 36 images (18 train, 18 val) as the network takes them, and their labels."""
    with reading() as session:
        dataset = session.get_one(Dataset, run.dataset_id)
        steps = session.get_one(ModelVersion, run.model_version_id).spec["preprocessing"]
    folder = get_artifacts().local(dataset.artifact_key)
    rows = DatasetImages(folder, get_blobs()).rows(0, 36)
    pixels = torch.tensor(np.stack([np.asarray(Image.open(io.BytesIO(data)), np.float32) / 255 for data in rows]))
    x = (pixels - torch.tensor(steps["mean"])) / torch.tensor(steps["std"])
    labels = pq.read_table(folder / "manifest.parquet")["label"].to_numpy()
    return x.permute(0, 3, 1, 2), torch.tensor(labels, dtype=torch.int64)


def gradient_rows(seed: int, x: Tensor, y: Tensor, output: OutputFunction = margin) -> tuple[Tensor, Tensor]:
    network = build_layers(build.LAYERS)
    network.load_state_dict(load(build.weights(seed)))
    rows = []
    for one, label in zip(x.split(1), y.split(1), strict=True):
        parts = torch.autograd.grad(output(network(one), label)[0], list(network.parameters()))
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows), doubt(network(x).detach(), y)


def test_run_succeeds_and_says_what_it_did(run: AuditRun) -> None:
    assert (run.status, run.error) == ("succeeded", "")
    summary = run.summary["influence"]
    assert (summary["train_rows"], summary["targets"], summary["checkpoints"]) == (18, 18, 2)
    assert summary["coverage"] == pytest.approx(1)
    assert summary["curvature"] == {"rows": 18, "share": pytest.approx(1), "diagonal": 0}
    assert [m["reason"] for m in summary["methods"]] == [""] * 6
    assert {m["verified"] for m in summary["methods"]} == {"unverified"}


def test_trak_lists_are_those_of_whole_gradients(run: AuditRun) -> None:
    """With more features than weights nothing is sketched: the formula on autograd's gradients must come out."""
    x, y, ridge = *images(run), run.summary["influence"]["ridge"]
    order = pq.read_table(get_artifacts().local(run.details_keys["influence:attribute"]) / "train.parquet")["row"]
    assert order.to_pylist() == list(range(18))
    expected, doubts = torch.zeros(18, 18), []
    for seed in (0, 1):
        rows, weight = gradient_rows(seed, x, y)
        train, targets = rows[:18], rows[18:]
        moment = train.T @ train
        matrix = moment + ridge * moment.trace() / len(moment) * torch.eye(len(moment))
        expected += train @ torch.linalg.solve(matrix, targets.T) / 2
        doubts.append(weight[:18])
    expected *= torch.stack(doubts).mean(dim=0)[:, None]
    places, scores = (
        np.load(get_artifacts().local(run.details_keys["influence:attribute"]) / f"trak.{part}.npy")
        for part in ("rows", "scores")
    )
    assert places.shape == scores.shape == (18, 10)
    scale = float(expected.abs().max())
    for target in range(18):
        np.testing.assert_allclose(scores[target], expected[places[target], target], atol=0.02 * scale)
        best = expected[:, target].topk(5).values.numpy()
        np.testing.assert_allclose(scores[target, :5], best, atol=0.02 * scale)


def listed(run: AuditRun, method: str) -> tuple[np.ndarray, np.ndarray]:
    folder = get_artifacts().local(run.details_keys["influence:attribute"])
    return np.load(folder / f"{method}.rows.npy"), np.load(folder / f"{method}.scores.npy")


def test_ekfac_lists_are_exact_influence_at_the_last_checkpoint(run: AuditRun) -> None:
    """With more features than weights nothing is dropped: what kronfluence was compared with must come out."""
    x, y = images(run)
    network = build_layers(build.LAYERS)
    network.load_state_dict(load(build.weights(1)))
    program = torch.export.export(network.eval(), (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    tapped = TappedNetwork(program.run_decompositions({}).module(check_guards=False), x[:1])
    curvature = ekfac.estimate_curvature(tapped, lambda: [(range(18), x[:18])], seed=run.seed)
    targets = tapped.factors(x[18:], lambda logits: margin(logits, y[18:]))[1]
    losses = tapped.factors(x[:18], lambda logits: cross_entropy(logits, y[:18]))[1]
    expected = ekfac.influence(tapped.taps, losses, ekfac.precondition(tapped.taps, targets, curvature)) / 18
    places, scores = listed(run, "ekfac")
    scale = float(expected.abs().max())
    for target in range(18):
        np.testing.assert_allclose(scores[target], expected[places[target], target], atol=0.02 * scale)
        best = expected[:, target].topk(5).values.numpy()
        np.testing.assert_allclose(scores[target, :5], best, atol=0.02 * scale)


def test_tracin_over_all_weights_is_that_of_whole_loss_gradients(run: AuditRun) -> None:
    x, y = images(run)
    rows = [gradient_rows(seed, x, y, cross_entropy)[0] for seed in (0, 1)]
    expected = tracin([row[:18] for row in rows], [row[18:] for row in rows], [1.0, 1.0])
    places, scores = listed(run, "tracin_full")
    scale = float(expected.abs().max())
    for target in range(18):
        np.testing.assert_allclose(scores[target], expected[places[target], target], atol=0.02 * scale)


def test_columns_are_the_same_scores_from_the_other_side(run: AuditRun) -> None:
    folder = get_artifacts().local(run.details_keys["influence:attribute"])
    for method in ("trak", "knn_shapley"):
        places, scores = (np.load(folder / f"{method}.{part}.npy") for part in ("rows", "scores"))
        felt, felt_scores = (np.load(folder / f"{method}.{part}.npy") for part in ("felt", "felt_scores"))
        known = {(int(row), t): s for t in range(18) for row, s in zip(places[t], scores[t], strict=True)}
        seen = {(row, int(t)): s for row in range(18) for t, s in zip(felt[row], felt_scores[row], strict=True)}
        both = known.keys() & seen.keys()
        assert len(both) > 100
        assert all(known[pair] == pytest.approx(seen[pair]) for pair in both)


def test_spectra_are_kept_for_later_questions(run: AuditRun) -> None:
    folder = get_artifacts().local(run.details_keys["influence:attribute"])
    assert np.load(folder / "spectrum.ridge.npy") == run.summary["influence"]["ridge"]
    assert [np.load(folder / f"spectrum.vectors-{c}.npy").dtype for c in (0, 1)] == [np.float32] * 2


def test_lists_say_how_much_two_halves_of_the_checkpoints_share(run: AuditRun) -> None:
    """Two checkpoints: either half is one of them, here by the formula on the features that the run kept."""
    inputs, ridge = inputs_of(run.id, "influence", "cpu"), run.summary["influence"]["ridge"]
    assert inputs.train is not None
    doubt = sum(np.asarray(inputs.train.model[f"gradients.doubt-{c}"]) for c in (0, 1)) / 2
    halves = []
    for c in (0, 1):
        train, targets = (
            np.array(split.model[f"gradients.codes-{c}"], float) * split.model[f"gradients.scales-{c}"][:, None]
            for split in (inputs.train, inputs.audited)
        )
        moment = train.T @ train
        inverse = np.linalg.inv(moment + ridge * np.trace(moment) / len(moment) * np.eye(len(moment)))
        halves.append(train @ inverse @ targets.T * doubt[:, None])
    shared = np.load(get_artifacts().local(run.details_keys["influence:attribute"]) / "trak.shared.npy")
    for target in range(18):
        for side, sign in enumerate((-1, 1)):
            first, second = (set((sign * half[:, target]).argsort()[:3].tolist()) for half in halves)
            assert shared[target, side] == len(first & second)
    stability = run.summary["influence"]["stability"]
    assert (stability["halves"], stability["compared"], stability["targets"]) == ("checkpoints", 3, 18)
    assert stability["helpful"]["mean"] == pytest.approx(float(shared[:, 0].mean()))


def test_a_slice_s_scores_are_the_mean_of_its_members(run: AuditRun) -> None:
    plan_inputs = inputs_of(run.id, "influence", "cpu")
    members = [1, 4, 9]
    answer = GroupAnswer.model_validate(behind_slice(plan_inputs, GroupPayload(rows=members, finding_id=1)).result)
    assert plan_inputs.train is not None
    found = Attributor(plan_inputs, plan_inputs.train, plan_inputs.audited)
    assert [one.method for one in answer.methods] == list(found.methods)
    for one in answer.methods:
        mean = found.methods[one.method](np.array(members)).mean(dim=1)
        high, low = mean.topk(9).values, mean.topk(9, largest=False).values
        # Scores of KNN-Shapley tie, so that only their values are in order.
        assert [s.score for s in one.helpful] == pytest.approx(high[high > 0].tolist(), rel=1e-3, abs=1e-6)
        assert [s.score for s in one.harmful] == pytest.approx(low[low < 0].tolist(), rel=1e-3, abs=1e-6)
        for scored in one.helpful + one.harmful:
            assert scored.score == pytest.approx(float(mean[scored.row]), rel=1e-3, abs=1e-6)
        assert one.asked == 3
        assert (one.shared is not None) == (one.method == "trak")


def test_effects_are_those_of_the_whole_matrix(run: AuditRun) -> None:
    found = inputs_of(run.id, "influence", "cpu")
    assert found.train is not None
    folder = get_artifacts().local(run.details_keys["influence:effects"])
    scores = np.load(folder / "scores.npy").astype(np.float32)
    expected = Attributor(found, found.train, found.audited).methods["trak"](np.arange(18)).numpy()
    expected *= 18**0.5 / np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(scores, expected, rtol=2e-3, atol=2e-3)
    summary = run.summary["influence"]["effects"]
    assert (summary["method"], summary["targets"], summary["of_targets"]) == ("trak", 18, 18)
    assert sum(cluster["n"] for cluster in summary["clusters"]) == 18
    values = np.linalg.svd(expected.astype(np.float64), compute_uv=False) ** 2
    np.testing.assert_allclose(summary["shares"], (values / values.sum())[:6], rtol=1e-3)


def test_a_worker_compares_two_runs(run: AuditRun) -> None:
    """A run against itself: the whole way from the question to the stored answer."""
    with transaction() as session:
        payload = {"other_run_id": run.id}
        query = Query(run_id=run.id, kind="influence", action="compare", payload=payload, status="queued")
        session.add(query)
        session.flush()
        asked = query.id
    Twin().run_workflow("answer_query", asked)
    with reading() as session:
        answered = session.get_one(Query, asked)
    assert (answered.status, answered.error) == ("succeeded", "")
    assert answered.result["similarity"] == pytest.approx(1, abs=1e-3)
    assert answered.result["own"] == []


def test_progress_of_the_network_s_work_is_told(run: AuditRun) -> None:
    with reading() as session:
        stages = {stage.name: stage for stage in jobs.stages(session, "run", run.id)}
    assert (stages["influence:gradients"].done, stages["influence:gradients"].total) == (36, 36)
    assert stages["influence:gradients"].status == "succeeded"
    assert (stages["influence:ekfac:fit"].done, stages["influence:ekfac:fit"].total) == (18, 18)
    assert (stages["influence:ekfac"].done, stages["influence:ekfac"].total) == (36, 36)


def test_another_run_takes_the_gradients_from_the_store(run: AuditRun) -> None:
    with transaction() as session:
        data, net = session.get_one(Dataset, run.dataset_id), session.get_one(ModelVersion, run.model_version_id)
        params = {"influence": {"features": 2000, "top": 5, "neighbours": 3}}
        again = build.run(session, data, net, kinds=["influence"], params=params)
    twin = Twin()
    twin.run_workflow("audit_run", again.id)
    assert not [unit for unit in twin.ran if unit["stage"] in {"predict", "model-shard"}]
    with reading() as session:
        assert session.get_one(AuditRun, again.id).status == "succeeded"
        fit = next(s for s in jobs.stages(session, "run", again.id) if s.name == "influence:ekfac:fit")
    assert (fit.status, fit.artifact_key) == ("succeeded", fitted_key(run))


def fitted_key(run: AuditRun) -> str:
    with reading() as session:
        return next(s.artifact_key for s in jobs.stages(session, "run", run.id) if s.name == "influence:ekfac:fit")


def test_a_training_split_without_labels_leaves_out_what_is_fitted_and_says_why(
    run: AuditRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_model, "labels_between", lambda plan, start, stop: np.full(stop - start, -1))
    with transaction() as session:
        data, net = session.get_one(Dataset, run.dataset_id), session.get_one(ModelVersion, run.model_version_id)
        blind = build.run(session, data, net, kinds=["influence"], params={"influence": {"features": 64}}, seed=5)
    Twin().run_workflow("audit_run", blind.id)
    with reading() as session:
        found = session.get_one(AuditRun, blind.id)
    assert found.status == "succeeded"
    reasons = {m["method"]: m["reason"] for m in found.summary["influence"]["methods"]}
    assert reasons.pop("ekfac") == fit_model.UNLABELLED
    assert set(reasons.values()) == {""}


def test_without_a_training_split_the_run_still_ends_well(run: AuditRun) -> None:
    with transaction() as session:
        data, net = session.get_one(Dataset, run.dataset_id), session.get_one(ModelVersion, run.model_version_id)
        alone = build.run(session, data, net, kinds=["influence"], train_split="")
    Twin().run_workflow("audit_run", alone.id)
    with reading() as session:
        found = session.get_one(AuditRun, alone.id)
        lines = [stage.name for stage in jobs.stages(session, "run", alone.id)]
    assert found.status == "succeeded"
    assert "no training split" in found.summary["influence"]["unavailable"]
    assert "influence:gradients" in lines
    assert not [line for line in lines if "ekfac" in line]
