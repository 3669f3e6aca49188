"""Datamodels from upload to proof: real recipes, real sandboxed training, with gradients and for models without any."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from app.audits.retraining import read_plan
from app.loaders.models.layers import build_layers
from app.store.models import AuditRun, Dataset, ModelVersion
from app.store.places import get_artifacts
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from tests.workers.test_retrain_chain import telling_weights
from workers import warm
from workers.testing import Twin

pytestmark = pytest.mark.xdist_group("datamodels-chain")

RECIPE = {"epochs": 2, "batch_size": 4, "learning_rate": 0.05}
PARAMS = {"retrain": 30, "targets": 6, "top": 5, "features": 256}
NAMED = RECIPE | {"architecture": build.LAYERS}


@pytest.fixture(scope="module")
def dataset_id(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A data set of coloured squares."""
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("dm"), patch, shard_rows="40"):
        with transaction() as session:
            dataset = build.dataset(session, build.project(session), build.images_zip())
        Twin().run_workflow("import_dataset", dataset.id)
        yield dataset.id
        warm._drop_child()


def version(dataset_id: int, data: bytes, recipe: dict[str, Any] | None, **spec: Any) -> int:
    """A checked version."""
    with transaction() as session:
        project = session.get_one(Dataset, dataset_id).project_id
        made = build.version(session, project, data, {"recipe": recipe} if recipe else {}, **spec)
    Twin().run_workflow("check_model", made.id)
    with reading() as session:
        found = session.get_one(ModelVersion, made.id)
        assert (found.status, found.error) == ("succeeded", "")
    return made.id


def audited(dataset_id: int, version_id: int, twin: Twin | None = None, **params: Any) -> AuditRun:
    with transaction() as session:
        data, net = session.get_one(Dataset, dataset_id), session.get_one(ModelVersion, version_id)
        run = build.run(session, data, net, kinds=["datamodels"], params={"datamodels": PARAMS | params})
    (twin or Twin()).run_workflow("audit_run", run.id)
    with reading() as session:
        return session.get_one(AuditRun, run.id)


def folder(run: AuditRun, stage: str) -> Path:
    return get_artifacts().local(run.details_keys[f"datamodels:{stage}"])


def torchscript() -> bytes:
    target = io.BytesIO()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(build_layers(build.LAYERS).eval()), target)
    return target.getvalue()


def table() -> bytes:
    """Predictions for every image of the data set, as CSV; the first class everywhere."""
    names = [f"{split}/{c}/{i:03d}.png" for split in ("train", "val") for c in build.CLASSES for i in range(6)]
    return "\n".join(["id," + ",".join(build.CLASSES), *(f"{name},0.7,0.2,0.1" for name in names)]).encode()


def methods(run: AuditRun) -> dict[str, str]:
    """Reason by method; empty where it was computed."""
    return {m["method"]: m["reason"] for m in run.summary["datamodels"]["methods"]}


def test_datamodels_come_from_retrained_networks_and_are_put_to_the_proof(dataset_id: int) -> None:
    twin = Twin()
    version_id = version(dataset_id, telling_weights(), RECIPE)
    found = audited(dataset_id, version_id, twin, shapley=5, counterfactuals=3, removed=4)
    assert (found.status, found.error) == ("succeeded", "")
    assert sum(unit["stage"] == "retrain" for unit in twin.ran) >= 4
    summary = found.summary["datamodels"]
    assert methods(found) == dict.fromkeys(("weighted", "plain", "subset", "trak", "similarity"), "")
    assert (summary["models"], summary["held_out"], summary["memory"]["rows"]) == (30, 3, 18)
    assert all(m["check"]["columns"] == 6 for m in summary["methods"] if m["method"] in {"weighted", "plain"})
    train = pq.read_table(folder(found, "memorise") / "train.parquet")
    alone = np.array([i for i in range(30) if i % 10 != 9])
    own, masks = np.load(folder(found, "retrain") / "own.npy")[alone], read_plan(folder(found, "plan"), 18).masks[alone]
    expected = [own[masks[:, i], i].mean() - own[~masks[:, i], i].mean() for i in range(18)]
    np.testing.assert_allclose(train["memorisation"].to_numpy(), expected, rtol=1e-3, atol=1e-4)
    values = pq.read_table(folder(found, "value") / "values.parquet")
    assert values["row"].to_pylist() == train["row"].to_pylist()
    proof = pq.read_table(folder(found, "prove") / "predictions.parquet").to_pylist()
    margins, chosen = (
        np.load(folder(found, "without") / "margins.npy"),
        np.load(folder(found, "choose") / "targets.npy"),
    )
    assert len(proof) == 3 * len(chosen)
    for j in range(len(chosen)):
        for g in range(3):
            first = 3 * (1 + 3 * j + g)
            assert proof[3 * j + g]["after"] == pytest.approx(margins[first : first + 3, j].mean(), rel=1e-4)


@pytest.mark.parametrize("form", ["torchscript", "predictions"])
def test_a_model_without_gradients_gets_datamodels_by_a_recipe_that_names_the_architecture(
    dataset_id: int, form: str
) -> None:
    data = torchscript() if form == "torchscript" else table()
    found = audited(dataset_id, version(dataset_id, data, NAMED, format=form, architecture=""))
    assert (found.status, found.error) == ("succeeded", "")
    reasons, summary = methods(found), found.summary["datamodels"]
    assert reasons["plain"] == reasons["subset"] == ""
    assert "no gradients" in reasons["weighted"]
    assert reasons["weighted"] == reasons["trak"] == summary["no_gradients"]
    assert ("neither penultimate features" in reasons["similarity"]) == (form == "predictions")
    assert (summary["models"], summary["best"]) == (30, "plain")
    margins = np.load(folder(found, "retrain") / "margins.npy")
    assert np.isfinite(margins).all()
    assert margins.std() > 0


def test_without_an_architecture_or_a_recipe_the_audit_says_so_before_anything_is_trained(dataset_id: int) -> None:
    for recipe, said in ((RECIPE, "architecture to the training recipe"), (None, "carries no training recipe")):
        twin = Twin()
        version_id = version(dataset_id, torchscript(), recipe, format="torchscript", architecture="")
        refused = audited(dataset_id, version_id, twin)
        assert (refused.status, twin.ran) == ("failed", [])
        assert said in refused.error


def test_an_architecture_that_does_not_fit_the_classes_is_named(dataset_id: int) -> None:
    wide = [*build.LAYERS[:-1], {"linear": {"in_features": 4, "out_features": 7}}]
    data = table()
    version_id = version(dataset_id, data, RECIPE | {"architecture": wide}, format="predictions", architecture="")
    failed = audited(dataset_id, version_id)
    assert failed.status == "failed"
    assert "7 outputs" in failed.error
    assert "3 classes" in failed.error


def test_the_same_architecture_by_recipe_trains_the_same_networks() -> None:
    """Weights that say how many outputs there are, and the number of classes, lead to one network."""
    from app.loaders.models.retrain import _Wide, fresh_network
    from app.loaders.models.spec import ModelSpec

    spec = ModelSpec.model_validate({"format": "safetensors", "architecture": "cifar_resnet20", "classes": list("abc")})
    networks = [fresh_network(spec, state, 5) for state in ({"linear.weight": torch.zeros(3, 64)}, _Wide(3))]
    first, second = (network.state_dict() for network in networks)
    assert isinstance(networks[0], nn.Module)
    assert all(torch.equal(first[name], second[name]) for name in first)
