"""Retraining from upload to proof: a real recipe, real sandboxed training, scores against what came of it."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save
from scipy.stats import spearmanr
from torch import nn

from app.audits.influence.page_files import run_files
from app.audits.retraining import read_plan
from app.loaders.models.layers import build_layers
from app.services.array_file import npz_pieces
from app.store.images import DatasetImages
from app.store.models import AuditRun, Dataset, ModelVersion
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.repositories.jobs import Job
from app.store.session import reading, transaction
from app.web.reader import LiveReader
from tests.workers import build
from tests.workers.home import fresh_home
from workers import warm
from workers.testing import Twin

pytestmark = pytest.mark.xdist_group("retrain-chain")

RECIPE = {"epochs": 3, "batch_size": 4, "learning_rate": 0.05, "shift": 1, "mirror": True, "weight_decay": 1e-4}
PARAMS = {
    "features": 256, "top": 5, "retrain": 5, "repeats": 2, "proof_targets": 12, "counterfactuals": 2, "removed": 3
}  # fmt: skip
MODELS = 10


def telling_weights() -> bytes:
    """Weights that tell the three colours apart."""
    shapes = {"0.weight": (4, 3, 3, 3), "0.bias": (4,), "4.weight": (3, 4), "4.bias": (3,)}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for c in range(3):
        weights["0.weight"][c, 2 - c, 1, 1] = weights["4.weight"][c, c] = 1.0
    return save(weights)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A data set and a checked version with a recipe."""
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("re"), patch, shard_rows="40"):
        twin = Twin()
        with transaction() as session:
            dataset = build.dataset(session, build.project(session), build.images_zip())
        twin.run_workflow("import_dataset", dataset.id)
        with transaction() as session:
            version = build.version(session, dataset.project_id, telling_weights(), {"recipe": RECIPE})
        twin.run_workflow("check_model", version.id)
        yield dataset.id, version.id
        warm._drop_child()


def audited(parts: tuple[int, int], twin: Twin, kind: str = "influence", **params: Any) -> AuditRun:
    """Run a kind with the parameters of these tests, some of them changed."""
    with transaction() as session:
        data, net = session.get_one(Dataset, parts[0]), session.get_one(ModelVersion, parts[1])
        run = build.run(session, data, net, kinds=[kind], params={kind: params})
    twin.run_workflow("audit_run", run.id)
    with reading() as session:
        return session.get_one(AuditRun, run.id)


@pytest.fixture(scope="module")
def run(parts: tuple[int, int]) -> AuditRun:
    found = audited(parts, Twin(), **PARAMS)
    assert (found.status, found.error) == ("succeeded", "")
    return found


def folder(run: AuditRun, stage: str) -> Path:
    return get_artifacts().local(run.details_keys[f"influence:{stage}"])


def test_every_network_gives_margins_of_targets_and_of_training_rows(run: AuditRun) -> None:
    margins, right, own = (np.load(folder(run, "retrain") / f"{name}.npy") for name in ("margins", "right", "own"))
    assert (margins.shape, right.shape, own.shape) == ((MODELS, 12), (MODELS, 12), (MODELS, 18))
    assert np.isfinite(margins).all()
    assert np.isfinite(own).all()
    assert not np.allclose(margins[0], margins[1]), "two seeds, two networks"


def test_the_summary_has_the_score_that_scipy_computes_of_the_exported_arrays(run: AuditRun) -> None:
    """Similarity, whose scores a plain cosine gives again, against the stored margins by an independent Spearman."""
    plan, targets = read_plan(folder(run, "plan"), 18), np.load(folder(run, "prove") / "targets.npy")
    margins = np.load(folder(run, "retrain") / "margins.npy").reshape(5, 2, 12).mean(axis=1)
    masks = plan.masks[::2]
    assert (masks.sum(axis=1) == 9).all()
    features = np.load(get_artifacts().local(run.details_keys["predict-all"]) / "features.npy")
    x, labels = feature_rows(run)
    assert np.allclose(features, x[18:], atol=1e-4)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit[:18] @ unit[18:][targets].T * np.where(labels[:18, None] == labels[18:][targets][None], 1, -1)
    expected = [spearmanr(masks @ cosine[:, j], margins[:, j]).statistic for j in range(12)]
    found = {m["method"]: m for m in run.summary["influence"]["methods"]}
    assert found["similarity"]["lds"] == pytest.approx(np.nanmean(expected), abs=0.05)
    np.testing.assert_allclose(np.load(folder(run, "prove") / "lds.similarity.npy"), expected, atol=0.11)
    assert {m["verified"] for m in found.values()} == {"verified"}
    assert run.summary["influence"]["proof"] == pytest.approx(
        {"subsets": 5, "repeats": 2, "targets": 12, "repeatability": run.summary["influence"]["proof"]["repeatability"],
         "ceiling": run.summary["influence"]["proof"]["ceiling"]}
    )  # fmt: skip


def test_removals_count_predictions(run: AuditRun) -> None:
    plan = read_plan(folder(run, "choose"), 18)
    methods = [m["method"] for m in run.summary["influence"]["methods"]]
    removals = len(methods) + 1
    assert plan.masks.shape == ((1 + 2 * removals) * 3, 18)
    assert plan.masks[:3].all(), "the first networks see everything"
    assert (plan.masks[3:].sum(axis=1) == 15).all()
    assert len(set(plan.seeds[:3].tolist())) == 3
    np.testing.assert_array_equal(
        plan.seeds.reshape(-1, 3), np.tile(plan.seeds[:3], (1 + 2 * removals, 1)), "pairs differ in images"
    )
    margins = np.load(folder(run, "without") / "margins.npy")
    for place, name in enumerate([*methods, "random"]):
        got = np.load(folder(run, "flip") / f"{name}.margins.npy")
        for j in range(2):
            first = 3 * (1 + j * removals + place)
            np.testing.assert_array_equal(got[j], margins[first : first + 3, j])


def test_scores_can_be_recomputed_from_the_file_that_the_run_hands_out(run: AuditRun) -> None:
    """By the lines that its README gives, and nothing else of ours."""
    with reading() as session:
        reader = LiveReader(session, session.get_one(AuditRun, run.id))
        manifest = get_artifacts().local(reader.dataset.artifact_key) / "manifest.parquet"
        proof = next(one for one in run_files(reader) if one.name == "influence-proof.npz")
        file = np.load(io.BytesIO(b"".join(npz_pieces(proof.read(), manifest))), allow_pickle=False)
    seen = np.unpackbits(file["masks"], axis=1, count=len(file["train_rows"]))[file["judged"]]
    truth = file["margins"].mean(axis=0)[file["judged"]]
    assert (seen.shape, truth.shape) == ((5, 18), (5, 12))
    for method in run.summary["influence"]["methods"]:
        said = seen @ file[f"scores.{method['method']}"]
        found = [spearmanr(said[:, j], truth[:, j]).statistic for j in range(12)]
        np.testing.assert_allclose(file[f"lds.{method['method']}"], np.nan_to_num(found), atol=0.11)
        assert np.mean(np.nan_to_num(found)) == pytest.approx(method["lds"], abs=0.02), "ties of float sums"
    np.testing.assert_array_equal(file["removal.trak"], np.load(folder(run, "flip") / "trak.margins.npy"))
    removed = np.unpackbits(file["removal.masks"], axis=1, count=18)
    assert removed.sum(axis=1).tolist() == [18] + [15] * 2 * (len(run.summary["influence"]["methods"]) + 1)
    ids = json.loads(file["target_ids.json"])
    assert len(ids) == 12
    assert all(name.startswith("val/") for name in ids)


def test_progress_counts_models(run: AuditRun) -> None:
    with reading() as session:
        stages = {stage.name: stage for stage in jobs.stages(session, "run", run.id)}
    line = stages["influence:retrain"]
    assert (line.done, line.total, line.units, line.status) == (MODELS, MODELS, "models", "succeeded")


def test_more_halves_take_the_first_from_the_store(parts: tuple[int, int], run: AuditRun) -> None:
    twin = Twin()
    more = audited(parts, twin, **PARAMS | {"retrain": 9, "counterfactuals": 0})
    assert more.status == "succeeded"
    ran = [unit["args"]["models"] for unit in twin.ran if unit["stage"] == "retrain"]
    assert ran == [[8, 16], [16, 18]], "networks 0 to 7 were trained before"
    assert "influence:without" not in more.details_keys


@pytest.mark.long
def test_a_version_with_other_weights_takes_the_same_networks(parts: tuple[int, int], run: AuditRun) -> None:
    with transaction() as session:
        project = session.get_one(Dataset, parts[0]).project_id
        other = build.version(session, project, build.weights(7), {"recipe": RECIPE})
    Twin().run_workflow("check_model", other.id)
    twin = Twin()
    found = audited((parts[0], other.id), twin, **PARAMS | {"counterfactuals": 0})
    assert found.status == "succeeded"
    assert not [unit for unit in twin.ran if unit["stage"] == "retrain"], "only architecture and recipe matter"
    np.testing.assert_array_equal(*(np.load(folder(one, "retrain") / "margins.npy") for one in (run, found)))
    assert found.summary["influence"]["methods"] != run.summary["influence"]["methods"]


def test_a_version_without_a_recipe_is_refused_before_anything_is_computed(parts: tuple[int, int]) -> None:
    with transaction() as session:
        session.get_one(ModelVersion, parts[1]).claim = {}
    try:
        twin = Twin()
        refused = audited(parts, twin, **PARAMS)
        assert (refused.status, twin.ran) == ("failed", [])
        assert "no training recipe" in refused.error
        assert audited(parts, Twin(), features=256, top=5).status == "succeeded", "without retraining it is not needed"
    finally:
        with transaction() as session:
            session.get_one(ModelVersion, parts[1]).claim = {"recipe": RECIPE}


def test_a_class_that_training_lacks_is_named(parts: tuple[int, int]) -> None:
    with transaction() as session:
        version = session.get_one(ModelVersion, parts[1])
        before, version.spec = version.spec, version.spec | {"classes": ["blue", "green", "violet"]}
    try:
        refused = audited(parts, Twin(), **PARAMS)
        assert refused.status == "failed"
        assert "no image of “violet”" in refused.error
    finally:
        with transaction() as session:
            session.get_one(ModelVersion, parts[1]).spec = before


@pytest.mark.long
def test_a_diverging_recipe_says_so(parts: tuple[int, int]) -> None:
    with transaction() as session:
        wild = RECIPE | {"learning_rate": 100.0, "epochs": 40, "momentum": 0.99, "schedule": "constant"}
        session.get_one(ModelVersion, parts[1]).claim = {"recipe": wild}
    try:
        failed = audited(parts, Twin(), **PARAMS)
        assert failed.status == "failed"
        assert "learning rate" in failed.error
    finally:
        with transaction() as session:
            session.get_one(ModelVersion, parts[1]).claim = {"recipe": RECIPE}


def test_a_cancel_stops_a_training_within_seconds_and_a_resume_takes_what_is_there(parts: tuple[int, int]) -> None:
    slow = RECIPE | {"epochs": 10_000}
    with transaction() as session:
        version = session.get_one(ModelVersion, parts[1])
        version.claim = {"recipe": slow}
        data = session.get_one(Dataset, parts[0])
        run = build.run(session, data, version, kinds=["influence"], params={"influence": PARAMS})
    try:
        thread = threading.Thread(target=Twin().run_workflow, args=("audit_run", run.id))
        thread.start()
        assert waited(lambda: stage_of(run.id)[1].startswith("model 1"), 60)
        with transaction() as session:
            assert jobs.request_cancel(session, Job("run", run.id))
        thread.join(20)
        assert not thread.is_alive()
        assert stage_of(run.id)[0] == "cancelled"
    finally:
        with transaction() as session:
            session.get_one(ModelVersion, parts[1]).claim = {"recipe": RECIPE}
    with transaction() as session:
        attempt = jobs.resume(session, run.id)
    twin = Twin()
    twin.run_workflow("audit_run", run.id, attempt or 0)
    with reading() as session:
        assert session.get_one(AuditRun, run.id).status == "succeeded"
    assert not [unit for unit in twin.ran if unit["stage"] == "retrain"], "this recipe was run before"


def stage_of(run_id: int) -> tuple[str, str]:
    """Status and message of the retraining."""
    with reading() as session:
        lines = jobs.stages(session, "run", run_id)
    return next(((s.status, s.message) for s in lines if s.name == "influence:retrain"), ("", ""))


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def feature_rows(run: AuditRun) -> tuple[np.ndarray, np.ndarray]:
    """Penultimate features and labels of all 36 images, computed here."""
    with reading() as session:
        dataset = session.get_one(Dataset, run.dataset_id)
        steps = session.get_one(ModelVersion, run.model_version_id).spec["preprocessing"]
    place = get_artifacts().local(dataset.artifact_key)
    rows = DatasetImages(place, get_blobs()).rows(0, 36)
    pixels = torch.tensor(np.stack([np.asarray(Image.open(io.BytesIO(data)), np.float32) / 255 for data in rows]))
    x = ((pixels - torch.tensor(steps["mean"])) / torch.tensor(steps["std"])).permute(0, 3, 1, 2)
    network = build_layers(build.LAYERS)
    network.load_state_dict(load(telling_weights()))
    labels = pq.read_table(place / "manifest.parquet")["label"].to_numpy()
    return nn.Sequential(*list(network)[:-1])(x).detach().numpy(), labels
