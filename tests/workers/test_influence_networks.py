"""Which networks the kind `influence` looks into, from upload to scores, and what a run says of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load, save

from app.store.models import AuditRun, Checkpoint, Dataset, ModelVersion
from app.store.places import get_artifacts, get_blobs
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from workers import warm
from workers.testing import Twin

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("influence-networks")]

PARAMS = {"influence": {"features": 2000, "top": 5}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A data set of 36 images, 18 of them for training."""
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("net"), patch):
        with transaction() as session:
            made = build.dataset(session, build.project(session), build.images_zip())
        Twin().run_workflow("import_dataset", made.id)
        yield made.id
        warm._drop_child()


def uploaded(data: int, *files: bytes, **spec: Any) -> int:
    """A checked version of which the files are the checkpoints, in order."""
    with transaction() as session:
        project = session.get_one(Dataset, data).project_id
        version = build.version(session, project, files[0], **spec)
        for place, later in enumerate(files[1:], 1):
            blob = get_blobs().put([later])
            session.add(
                Checkpoint(version_id=version.id, position=place, filename="l", sha256=blob.sha256, size=blob.size)
            )
    Twin().run_workflow("check_model", version.id)
    return version.id


def audited(data: int, version: int, **values: Any) -> AuditRun:
    with transaction() as session:
        parts = session.get_one(Dataset, data), session.get_one(ModelVersion, version)
        made = build.run(session, *parts, kinds=["influence"], params=PARAMS, **values)
    Twin().run_workflow("audit_run", made.id)
    with reading() as session:
        return session.get_one(AuditRun, made.id)


def reasons(run: AuditRun) -> dict[str, str]:
    """Why each method could not be computed; empty where it was."""
    return {method["method"]: method["reason"] for method in run.summary["influence"]["methods"]}


def scores(run: AuditRun) -> np.ndarray:
    values: np.ndarray = np.load(get_artifacts().local(run.details_keys["influence:attribute"]) / "trak.scores.npy")
    return values


def as_onnx(weights: bytes, inside: str = "Identity") -> bytes:
    """The network of `build.LAYERS`, with one more operation before its linear layer."""
    arrays = {name.replace(".", "_"): side.numpy() for name, side in load(weights).items()}
    nodes = [
        helper.make_node("Conv", ["image", "0_weight", "0_bias"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node(inside, ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "4_weight", "4_bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


ONNX = {"format": "onnx", "architecture": ""}


@pytest.fixture(scope="module")
def plain(data: int) -> AuditRun:
    """The network as safetensors."""
    return audited(data, uploaded(data, build.weights()))


def test_an_onnx_network_gives_the_same_scores(data: int, plain: AuditRun) -> None:
    run = audited(data, uploaded(data, as_onnx(build.weights()), **ONNX))
    assert (run.status, run.error) == ("succeeded", "")
    assert {"trak", "tracin", "knn_shapley", "similarity"} <= reasons(run).keys()
    assert set(reasons(run).values()) == {""}
    assert run.summary["influence"]["coverage"] == 1
    np.testing.assert_allclose(scores(run), scores(plain), rtol=0.03, atol=0.02 * np.abs(scores(plain)).max())


def test_an_unknown_operation_is_named_and_the_other_methods_run(data: int) -> None:
    run = audited(data, uploaded(data, as_onnx(build.weights(), "Sinh"), **ONNX))
    assert (run.status, run.error) == ("succeeded", "")
    found = reasons(run)
    assert found["trak"].startswith("ONNX operation Sinh is not known, so the network gives no gradients; upload")
    assert [found[name] for name in ("tracin", "knn_shapley", "similarity")] == ["", "", ""]
    assert run.summary["influence"]["coverage"] is None


def test_checkpoints_of_different_networks_are_named(data: int) -> None:
    shapes = {"0.weight": (5, 3, 3, 3), "0.bias": (5,), "4.weight": (3, 5), "4.bias": (3,)}
    other = save({name: torch.ones(shape) for name, shape in shapes.items()})
    run = audited(data, uploaded(data, other, build.weights()))
    assert run.status == "failed"
    assert "Checkpoint 1 of 2: " in run.error
    assert "one network at several moments; upload another network as its own version" in run.error
