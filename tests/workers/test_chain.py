"""From upload to published run, in one process: every stage on real files and a real sandboxed child."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from app.loaders.models.layers import build_layers
from app.store.images import DatasetImages
from app.store.models import AuditRun, Dataset, Finding, ModelVersion, Query
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from tests.workers.trivial import AUDIT
from workers import warm
from workers.testing import Twin

pytestmark = pytest.mark.xdist_group("chain")


@dataclass
class Finished:
    """A chain that ran once; the tests look at what it left."""

    twin: Twin
    dataset: Dataset
    version: ModelVersion
    run: AuditRun


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory):
    from app import audits

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(audits.kinds(), AUDIT.name, AUDIT)
        with fresh_home(tmp_path_factory.mktemp("chain"), patch, shard_rows="7"):
            twin = Twin()
            with transaction() as session:
                dataset = build.dataset(session, build.project(session), build.images_zip())
            twin.run_workflow("import_dataset", dataset.id)
            with transaction() as session:
                claim = {"dataset_id": dataset.id, "split": "val", "accuracy": 0.1, "given": ["outputs"]}
                version = build.version(session, dataset.project_id, build.weights(), claim=claim)
            twin.run_workflow("check_model", version.id)
            with transaction() as session:
                run = build.run(session, session.get_one(Dataset, dataset.id), version)
            twin.run_workflow("audit_run", run.id)
            with reading() as session:
                found = (session.get_one(Dataset, dataset.id), session.get_one(ModelVersion, version.id))
                yield Finished(twin, *found, session.get_one(AuditRun, run.id))
            warm._drop_child()


def test_data_set_is_imported(chain: Finished) -> None:
    assert (chain.dataset.status, chain.dataset.error) == ("succeeded", "")
    assert (chain.dataset.rows, chain.dataset.classes) == (36, build.CLASSES)
    assert len(chain.dataset.data_hash) == 64
    folder = get_artifacts().local(chain.dataset.artifact_key)
    assert json.loads((folder / "integrity.json").read_text())["rows"] == 36
    assert all(path.owner() == Path(__file__).owner() or path.stat().st_uid == 0 for path in folder.iterdir())


def test_model_is_checked(chain: Finished) -> None:
    assert (chain.version.status, chain.version.error) == ("succeeded", "")
    assert chain.version.inspection["format"] == "safetensors"
    for walls in (chain.version.inspection["containment"], chain.version.smoke["containment"]):
        assert set(walls) >= {"files", "network", "processes", "user"}
    assert chain.version.smoke["output_shape"][1] == 3
    assert chain.version.smoke["accuracy"]["n"] == 18
    assert len(chain.version.model_hash) == 64


def test_predictions_are_those_of_the_network(chain: Finished) -> None:
    """Against the same layers run here, without shards and without a sandbox."""
    network = build_layers(build.LAYERS).eval()
    network.load_state_dict(load(build.weights()))
    dataset = DatasetImages(get_artifacts().local(chain.dataset.artifact_key), get_blobs())
    steps = chain.version.spec["preprocessing"]
    pixels = [np.asarray(Image.open(io.BytesIO(data)), np.float32) / 255 for data in dataset.rows(18, 36)]
    x = (torch.tensor(np.stack(pixels)) - torch.tensor(steps["mean"])) / torch.tensor(steps["std"])
    with torch.inference_mode():
        expected = network(x.permute(0, 3, 1, 2)).numpy()
    found = np.load(get_artifacts().local(chain.run.details_keys["predict-all"]) / "logits.npy")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_score_table(chain: Finished) -> None:
    table = pq.read_table(get_artifacts().local(chain.run.scores_key) / "scores.parquet")
    logits = np.load(get_artifacts().local(chain.run.details_keys["predict-all"]) / "logits.npy")
    assert table["row"].to_pylist() == list(range(18, 36))
    assert set(table["split"].to_pylist()) == {"val"}
    assert table["prediction"].to_pylist() == logits.argmax(1).tolist()
    p = torch.tensor(logits).softmax(1).numpy()
    np.testing.assert_allclose(table["confidence"].to_numpy(), p.max(1), rtol=1e-5)
    np.testing.assert_allclose(table["p_true"].to_numpy(), p[np.arange(18), table["label"].to_numpy()], rtol=1e-4)
    assert table["role"].to_pylist() == ["fit", "confirm"] * 9
    wrong = np.logical_not(table["correct"].to_numpy())
    assert [bool(keys) for keys in table["slices"].to_pylist()] == wrong.tolist()
    assert table["decision"].null_count == 18


def test_findings_and_summary(chain: Finished) -> None:
    assert (chain.run.status, chain.run.error) == ("succeeded", "")
    with reading() as session:
        findings = session.query(Finding).filter_by(run_id=chain.run.id).all()
    counts = {finding.class_index: finding.metrics["n"] for finding in findings}
    assert sum(counts.values()) == chain.run.summary["trivial"]["errors"] > 0
    assert chain.run.summary["trivial"]["doubled"] == 2 * chain.run.summary["trivial"]["errors"]
    card = chain.run.summary["card"]
    assert card["accuracy"]["k"] + sum(counts.values()) == card["accuracy"]["n"] == 18
    assert card["calibration"]["low"] <= card["calibration"]["ece"] <= card["calibration"]["high"]


def test_provenance_names_all_that_the_run_was_made_from(chain: Finished) -> None:
    provenance = chain.run.provenance
    assert (provenance["data"], provenance["model"]) == (chain.dataset.data_hash, chain.version.model_hash)
    assert provenance["params"] == {"trivial": {"least": 1}}
    assert provenance["libraries"]["torch"] == torch.__version__.split("+")[0]
    assert all(get_artifacts().has(key) for key in provenance["artifacts"].values())


def test_progress_is_told(chain: Finished) -> None:
    with reading() as session:
        stages = jobs.stages(session, "run", chain.run.id)
    assert [stage.name for stage in stages] == ["predict", "assemble", "trivial:count", "trivial:double", "publish"]
    assert all(stage.status == "succeeded" and stage.done == stage.total > 0 for stage in stages)
    assert all(stage.started_at <= stage.finished_at for stage in stages)
    assert stages[0].total == 36
    assert len([unit for unit in chain.twin.ran if unit["stage"] == "predict"]) == 6


def test_publishing_twice_changes_nothing(chain: Finished) -> None:
    """A worker that was killed after its last write repeats it; a person may have renamed a finding meanwhile."""
    with transaction() as session:
        session.get_one(AuditRun, chain.run.id).status = "running"
        first = session.query(Finding).filter_by(run_id=chain.run.id).order_by(Finding.id).first()
        first.title = "renamed"
        before = session.query(Finding).count()
    publish = next(unit for unit in chain.twin.ran if unit["stage"] == "publish")
    assert chain.twin.run(publish)["outcome"] == "done"
    with transaction() as session:
        session.get_one(AuditRun, chain.run.id).status = "succeeded"
        assert session.query(Finding).count() == before
        assert session.get_one(Finding, first.id).title == "renamed"


def test_questions_spend_confirm_rows_in_order(chain: Finished) -> None:
    with transaction() as session:
        asked = [build.query(session, chain.run.id, c) for c in range(3)]
    for query in asked:
        chain.twin.run_workflow("answer_query", query.id)
    with reading() as session:
        answered = [session.get_one(Query, query.id) for query in asked]
    assert [query.position for query in answered] == [1, 2, 3]
    assert sum(query.result["errors"] for query in answered) == chain.run.summary["trivial"]["errors"]
    assert all(query.p_value == 0.01 < query.adjusted_p_value for query in answered)
    assert all(query.status == "succeeded" and query.finished_at for query in answered)


def test_a_wrong_question_is_refused_with_its_sentence(chain: Finished) -> None:
    with transaction() as session:
        query = build.query(session, chain.run.id, class_index=-1)
    chain.twin.run_workflow("answer_query", query.id)
    with reading() as session:
        query = session.get_one(Query, query.id)
    assert (query.status, query.error) == ("failed", "There is no class −1.")
    assert query.position is None


def test_other_params_reuse_the_predictions(chain: Finished) -> None:
    with transaction() as session:
        run = build.run(session, chain.dataset, chain.version, params={"trivial": {"least": 100}})
    twin = Twin()
    twin.run_workflow("audit_run", run.id)
    with reading() as session:
        stages = {stage.name: stage for stage in jobs.stages(session, "run", run.id)}
        assert session.get_one(AuditRun, run.id).status == "succeeded"
        assert session.query(Finding).filter_by(run_id=run.id).count() == 0
    assert stages["predict"].cached == 36
    assert stages["trivial:count"].cached == 0
    assert [unit["stage"] for unit in twin.ran] == ["assemble", "kind", "kind", "publish"]
