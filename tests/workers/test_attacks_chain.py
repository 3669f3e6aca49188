"""The kind `attacks` from upload to pages' arrays: real files, a real sandboxed child, several shards."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save
from torch import nn

from app.audits.attacks import AUDIT
from app.audits.attacks.schema import NAMES, PROVEN, SQUARE, UNBROKEN, WRONG
from app.loaders.models.layers import build_layers
from app.settings import get_settings
from app.store.models import AuditRun, ModelVersion
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.session import reading
from tests.workers import build
from tests.workers.audited import Audited, Network, Wanted, audited
from workers import run_plan
from workers.run_plan import load_run
from workers.stages import model_shard
from workers.stages.predict import ask_child

pytestmark = pytest.mark.xdist_group("attacks-chain")

PARAMS = {"radii": ["3/25", "2/255"], "budget": "quick"}


def coloured() -> nn.Module:
    """A network that knows the three colours, blue least surely."""
    network = build_layers(build.LAYERS)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        convolution, linear = (part for part in network.modules() if isinstance(part, (nn.Conv2d, nn.Linear)))
        for c in range(3):
            convolution.weight[c, 2 - c, 1, 1] = linear.weight[c, c] = 1.0
        convolution.bias.fill_(3.0)
        linear.bias[0] = -2.0
    return network.eval()


def scripted() -> bytes:
    """The same network as TorchScript, which gives no gradients."""
    network, target = coloured(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), target)
    return target.getvalue()


def as_onnx() -> bytes:
    """The same network as an ONNX file, whose graph is converted and gives gradients."""
    network = coloured()
    convolution, linear = (part for part in network.modules() if isinstance(part, (nn.Conv2d, nn.Linear)))
    weights = {"w": convolution.weight, "b": convolution.bias, "v": linear.weight, "c": linear.bias}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["convolved"]),
            helper.make_node("Relu", ["convolved"], ["positive"]),
            helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "v", "c"], ["logits"], transB=1),
        ],
        "coloured",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value.detach().numpy(), name) for name, value in weights.items()],
    )
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return made


@pytest.fixture(scope="module")
def patience() -> list[float | None]:
    """How long each shard of work on the network was given."""
    return []


NETWORKS = {
    "layers": Network(lambda: save(coloured().state_dict())),
    "script": Network(scripted, {"format": "torchscript", "architecture": ""}),
    "graph": Network(as_onnx, {"format": "onnx", "architecture": ""}),
}
WANTED = {"gradients": Wanted("layers", PARAMS), "none": Wanted("script", PARAMS), "onnx": Wanted("graph", PARAMS)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, patience: list[float | None]) -> Iterator[Audited]:
    def ask(*given: Any, seconds: float | None = None) -> dict[str, Any]:
        patience.append(seconds)
        return ask_child(*given, seconds=seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_shard, "ask_child", ask)
        with audited(tmp_path_factory.mktemp("att"), "attacks", NETWORKS, WANTED, checked=True) as made:
            yield made


def folder(run: AuditRun) -> Path:
    return get_artifacts().local(run.details_keys["attacks:summarise"])


def detail(run: AuditRun, name: str) -> np.ndarray:
    found: np.ndarray = np.load(folder(run) / f"{name}.npy")
    return found


@pytest.mark.parametrize(
    "name", ["gradients", *(pytest.param(name, marks=pytest.mark.long) for name in ("none", "onnx"))]
)
def test_the_run_ends_with_one_outcome_an_image_and_radius(runs: Audited, name: str) -> None:
    run = runs[name]
    assert (run.status, run.error) == ("succeeded", "")
    outcome, by = detail(run, "outcome"), detail(run, "by")
    assert outcome.shape == (18, 3)
    assert (np.diff(outcome, axis=1) <= 0).all()
    assert ((by == WRONG) == (outcome[:, :1] == 0)).all()
    assert ((by >= 0) == ((outcome[:, :1] == 1) & (outcome[:, 1:] == 0))).all()
    assert (((by < 0) & (by != WRONG)) == (outcome[:, 1:] == 1)).all()
    assert (by == PROVEN).any() == (name != "none"), "proofs follow layers, which TorchScript hides"
    assert (detail(run, "margin")[outcome == 0] <= 1e-6).all()
    assert (detail(run, "taken")[outcome == 1] == detail(run, "labels")[np.nonzero(outcome == 1)[0]]).all()


def test_the_summary_is_that_of_its_outcomes(runs: Audited) -> None:
    run = runs["gradients"]
    summary, outcome = run.summary["attacks"], detail(run, "outcome")
    assert (summary["rows"], summary["of_rows"], summary["no_gradients"]) == (18, 18, "")
    assert [level["text"] for level in summary["levels"]] == ["2/255", "3/25"]
    assert [level["robust"]["value"] for level in summary["levels"]] == pytest.approx(outcome[:, 1:].mean(axis=0))
    assert summary["clean"]["value"] == pytest.approx(outcome[:, 0].mean())
    assert outcome.mean(axis=0).tolist() == pytest.approx([1, 1, 2 / 3]), "blue breaks at 3/25"
    assert sum(summary["levels"][1]["broken_by"].values()) == int((detail(run, "by")[:, 1] >= 0).sum()) > 0
    titles = {sign["title"]: sign["ok"] for sign in summary["signs"]}
    assert titles["Same answer twice"]
    assert titles["Gradients"]
    assert titles["A large ε breaks everything"]


@pytest.mark.long
def test_without_gradients_square_alone_runs_and_the_summary_says_why(runs: Audited) -> None:
    run = runs["none"]
    assert "gives no gradients" in run.summary["attacks"]["no_gradients"]
    by = detail(run, "by")
    assert set(np.unique(by)) <= {WRONG, UNBROKEN, SQUARE}
    assert (detail(run, "outcome")[:, 0] == detail(runs["gradients"], "outcome")[:, 0]).all()
    assert (detail(run, "outcome")[:, 2] >= detail(runs["gradients"], "outcome")[:, 2]).all()
    assert {sign["title"] for sign in run.summary["attacks"]["signs"]} == {
        "Normalisation",
        "Same answer twice",
        "Logits",
    }


@pytest.mark.long
def test_gradients_through_a_converted_graph_find_what_those_of_the_weights_find(runs: Audited) -> None:
    assert runs["onnx"].summary["attacks"]["no_gradients"] == ""
    for name in ("outcome", "taken"):
        assert (detail(runs["onnx"], name) == detail(runs["gradients"], name)).all()
    assert np.allclose(detail(runs["onnx"], "margin"), detail(runs["gradients"], "margin"), atol=1e-3)
    assert SQUARE not in detail(runs["onnx"], "by")


@pytest.mark.long
def test_the_check_after_upload_says_who_gives_no_gradients(runs: Audited) -> None:
    asked = {name: runs[name] for name in WANTED}
    with reading() as session:
        said = {name: session.get_one(ModelVersion, run.model_version_id).smoke for name, run in asked.items()}
    assert said["gradients"]["doubts"] == said["onnx"]["doubts"] == []
    (doubt,) = said["none"]["doubts"]
    assert "Attacks can use no gradients" in doubt


def test_kept_pictures_are_original_change_and_result(runs: Audited) -> None:
    run = runs["gradients"]
    places, ends = detail(run, "pictures.of").tolist(), detail(run, "pictures.ends").tolist()
    data, factors = detail(run, "pictures.bytes").tobytes(), detail(run, "pictures.amplified")
    assert len(places) == len(ends) == len(factors) > 0
    assert places == [[position, part] for position in sorted({p for p, _ in places}) for part in range(3)]
    pixels = [
        np.asarray(Image.open(io.BytesIO(data[start:end])).convert("RGB")).astype(float) / 255
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    network, steps = coloured(), _preprocessing(run)
    mean, std = (torch.tensor(steps[name]).view(3, 1, 1) for name in ("mean", "std"))
    positions, outcome = detail(run, "positions").tolist(), detail(run, "outcome")
    for number in range(0, len(places), 3):
        original, change, result = pixels[number : number + 3]
        place = positions.index(places[number][0])
        column = int((outcome[place] == 0).argmax())
        radius = (2 / 255, 0.12)[column - 1]
        assert np.abs(result - original).max() <= radius + 1.01 / 255
        # Grey of the change is no change; the rest is the difference, amplified as said.
        assert np.abs((change - 0.5) / factors[number] - (result - original)).max() < 1.1 / 255
        with torch.no_grad():
            x = torch.tensor(original).permute(2, 0, 1).float()
            before = network(((x - mean) / std)[None]).argmax()
        assert int(before) == int(detail(run, "taken")[place, 0]) == int(detail(run, "labels")[place])


def test_the_training_split_is_left_alone(runs: Audited) -> None:
    with reading() as session:
        stages = {stage.name: stage for stage in jobs.stages(session, "run", runs["gradients"].id)}
    assert (stages["attacks:attack"].done, stages["attacks:attack"].total) == (18, 18)


def test_shards_are_small_and_may_take_as_long_as_training(
    runs: Audited, patience: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, plan = AUDIT.model_stages[0], load_run(runs["gradients"].id)
    assert patience == [get_settings().retrain_seconds] * 3 * len(runs)
    for rows, expected in ((5, [5, 5, 5, 3]), (64, [7, 7, 4]), (0, [7, 7, 4])):
        small = replace(stage, shard_rows=rows)
        monkeypatch.setattr(run_plan, "model_stage", lambda _line, small=small: ("attacks", small))
        assert [stop - start for start, stop in plan.shards("attacks:attack")] == expected


def _preprocessing(run: AuditRun) -> dict[str, Any]:
    with reading() as session:
        found: dict[str, Any] = session.get_one(ModelVersion, run.model_version_id).spec["preprocessing"]
    return found


def test_attacks_have_the_names_that_arrays_count_by() -> None:
    assert NAMES[SQUARE] == "Square"
