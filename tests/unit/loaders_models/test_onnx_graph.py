"""ONNX graphs written in torch's operations, against onnxruntime; gradients against those of the same network."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
import torchvision
from model_builders import SIDE, STEPS, save_onnx, save_safetensors, spec_for, tiny_net
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from app.loaders.models.graph import normalised_graph
from app.loaders.models.no_gradients import NoGradients
from app.loaders.models.onnx_graph.network import OnnxNetwork
from app.loaders.models.spec import ModelSpec, Preprocessing
from app.numerics.attribution.outputs import margin
from app.numerics.attribution.sketch import GradientSketch
from app.numerics.attribution.taps import TappedNetwork

CPU = torch.device("cpu")


def run_both(model: onnx.ModelProto, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First output of onnxruntime and of the network in torch's operations."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    right = session.run(None, {model.graph.input[0].name: x})[0]
    with torch.no_grad():
        return right, OnnxNetwork(model).eval()(torch.from_numpy(x))[0].numpy()


def graph_of(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray] | None = None, opset: int = 18, batch: object = "n"
) -> onnx.ModelProto:
    """A graph from `x` [batch, 4, 9, 7] to `y`."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4, 9, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _node(kind: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, ["x", *inputs], list(outputs), **attributes)


_RANDOM = np.random.default_rng(0)
W = {
    "w": _RANDOM.normal(size=(6, 4, 3, 3)).astype(np.float32),
    "g": _RANDOM.normal(size=(4, 2, 3, 2)).astype(np.float32),
    "t": _RANDOM.normal(size=(4, 3, 3, 2)).astype(np.float32),
    "b": _RANDOM.normal(size=6).astype(np.float32),
    "b3": _RANDOM.normal(size=3).astype(np.float32),
    "c": _RANDOM.uniform(0.5, 1.5, size=4).astype(np.float32),
    "m": _RANDOM.normal(size=(7, 5)).astype(np.float32),
    "l": _RANDOM.normal(size=7).astype(np.float32),
    "s": np.array([0.3], np.float32),
    "one": np.array([1], np.int64),
    "last": np.array([-1], np.int64),
    "two": np.array([3, 1], np.int64),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1], np.int64),
    "shape": np.array([0, 2, -1, 7], np.int64),
    "wide": np.array([1, 1, 1, 1, 1], np.int64),
    "start": np.array([1, 0], np.int64),
    "end": np.array([1_000_000, -2], np.int64),
    "axes": np.array([2, 3], np.int64),
    "step": np.array([2, 1], np.int64),
    "low": np.array(0, np.float32),
    "high": np.array(6, np.float32),
}
_POOL = {"kernel_shape": [3, 2]}
CASES: dict[str, tuple[onnx.NodeProto, int]] = {
    "convolution": (_node("Conv", "w", "b", strides=[2, 1], pads=[1, 1, 1, 1]), 18),
    "one side padded": (_node("Conv", "w", "b", pads=[0, 1, 2, 1]), 18),
    "same upper": (_node("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 3]), 18),
    "same lower": (_node("Conv", "g", group=2, auto_pad="SAME_LOWER", strides=[2, 2]), 18),
    "valid, with gaps": (_node("Conv", "w", auto_pad="VALID", dilations=[2, 1]), 18),
    "transposed": (_node("ConvTranspose", "t", "b3", strides=[2, 1], pads=[1, 0, 1, 0], output_padding=[1, 0]), 18),
    "batch norm": (_node("BatchNormalization", "c", "c", "c", "c"), 18),
    "instance norm": (_node("InstanceNormalization", "c", "c"), 18),
    "group norm": (_node("GroupNormalization", "c", "c", num_groups=2), 21),
    "layer norm": (_node("LayerNormalization", "l", "l", axis=-1), 18),
    "layer norm over two axes": (_node("LayerNormalization", "l", axis=2), 18),
    "local response": (_node("LRN", size=3, alpha=0.1), 18),
    "matmul": (_node("MatMul", "m"), 18),
    "max pool": (_node("MaxPool", **_POOL, strides=[2, 2], pads=[1, 0, 0, 1], ceil_mode=0), 18),
    "max pool, ceiling": (_node("MaxPool", **_POOL, strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1), 18),
    "mean pool": (_node("AveragePool", **_POOL, strides=[2, 2], pads=[1, 1, 1, 1]), 18),
    "mean pool, padding counted": (_node("AveragePool", **_POOL, pads=[0, 1, 1, 0], count_include_pad=1), 18),
    "mean pool, one side": (_node("AveragePool", **_POOL, pads=[0, 1, 1, 0]), 18),
    "global": (_node("GlobalAveragePool"), 18),
    "global max": (_node("GlobalMaxPool"), 18),
    "relu": (_node("Relu"), 18),
    "leaky": (_node("LeakyRelu", alpha=0.2), 18),
    "elu": (_node("Elu", alpha=0.7), 18),
    "selu": (_node("Selu"), 18),
    "hard sigmoid": (_node("HardSigmoid", alpha=0.3), 18),
    "hard swish": (_node("HardSwish"), 18),
    "softplus": (_node("Softplus"), 18),
    "gelu": (_node("Gelu"), 20),
    "gelu by tanh": (_node("Gelu", approximate="tanh"), 20),
    "erf": (_node("Erf"), 18),
    "clip": (_node("Clip", "low", "high"), 18),
    "clip from above": (_node("Clip", "", "s"), 18),
    "clip of old": (_node("Clip", min=-0.5, max=0.5), 6),
    "softmax": (_node("Softmax", axis=1), 18),
    "softmax of old": (_node("Softmax", axis=1), 11),
    "log softmax": (_node("LogSoftmax"), 18),
    "power": (_node("Pow", "s2"), 18),
    "scaled": (_node("Mul", "s"), 18),
    "divided": (_node("Div", "l"), 18),
    "prelu": (_node("PRelu", "slope"), 18),
    "flatten": (_node("Flatten"), 18),
    "flatten later": (_node("Flatten", axis=2), 18),
    "reshape": (_node("Reshape", "shape"), 18),
    "transpose": (_node("Transpose", perm=[0, 2, 3, 1]), 18),
    "unsqueeze": (_node("Unsqueeze", "last"), 18),
    "unsqueeze of old": (_node("Unsqueeze", axes=[1]), 11),
    "expand": (_node("Expand", "wide"), 18),
    "pad": (_node("Pad", "pads", "s"), 18),
    "pad by reflection": (_node("Pad", "pads", mode="reflect"), 18),
    "slice": (_node("Slice", "start", "end", "axes", "step"), 18),
    "slice of old": (_node("Slice", starts=[1], ends=[3], axes=[1]), 9),
    "split": (_node("Split", "two", outputs=("y", "z"), axis=1), 18),
    "split evenly": (_node("Split", outputs=("y", "z"), axis=1, num_outputs=2), 18),
    "gather": (_node("Gather", "last", axis=2), 18),
    "gather two": (_node("Gather", "axes", axis=3), 18),
    "mean": (_node("ReduceMean", "axes", keepdims=0), 18),
    "mean of old": (_node("ReduceMean", axes=[2, 3]), 13),
    "sum": (_node("ReduceSum", "last"), 18),
    "largest": (_node("ReduceMax", "axes"), 18),
    "length": (_node("ReduceL2", "axes"), 18),
    "space to depth": (_node("SpaceToDepth", blocksize=1), 18),
    "dropout": (_node("Dropout"), 18),
    "einsum": (_node("Einsum", "m", equation="nchw,wk->nchk"), 18),
}
W["s2"], W["slope"] = np.array(2, np.float32), W["c"].reshape(4, 1, 1)


@pytest.mark.parametrize("case", CASES)
def test_operations_give_what_onnxruntime_gives(case: str) -> None:
    node, opset = CASES[case]
    weights = {name: W[name] for name in node.input if name in W}
    x = np.random.default_rng(1).normal(size=(3, 4, 9, 7)).astype(np.float32)
    right, found = run_both(graph_of([node], weights, opset), x)
    assert found.shape == right.shape
    np.testing.assert_allclose(found, right, atol=1e-5)


def export(network: nn.Module, x: torch.Tensor, path: Path, *, dynamo: bool = False, fixed: bool = False) -> Path:
    axes = {"dynamic_axes": {"image": {0: "batch"}}}
    if dynamo:
        axes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},), "verbose": False, "external_data": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), (x,), path, input_names=["image"], dynamo=dynamo, **({} if fixed else axes))
    return path


def _vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, num_classes=3, depth=1, embed_dim=12)


def _mobile() -> nn.Module:
    return torchvision.models.mobilenet_v3_small(num_classes=3, width_mult=0.25)


FAMILIES = {
    "resnet": lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3),
    "mobilenet": _mobile,
    "convnext": lambda: timm.create_model("convnext_atto", num_classes=3, depths=(1, 1, 1, 1), dims=(4, 8, 8, 8)),
    "densenet": lambda: torchvision.models.DenseNet(4, (1, 1), 8, num_classes=3),
    "vit": _vit,
    "attention": lambda: torchvision.models.VisionTransformer(16, 8, 1, 2, 8, 16, num_classes=3),
    "swin": lambda: torchvision.models.SwinTransformer([2, 2], 8, [2], [2], [2, 2], num_classes=3),
}


@pytest.mark.parametrize(
    ("family", "fixed"),
    [*((family, False) for family in FAMILIES), ("resnet", True), ("mobilenet", True), ("convnext", True)],
)
def test_families_give_what_onnxruntime_gives(family: str, fixed: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FAMILIES[family]()
    side = 16 if family in {"vit", "attention"} else 32
    x = torch.randn(3, 3, side, side)
    path = export(network, x[: 1 if fixed else 2], tmp_path / "n.onnx", fixed=fixed)
    model = onnx.load(path)
    found = OnnxNetwork(model).eval()(x)[0].detach()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    one_by_one = [session.run(None, {"image": one[None].numpy()})[0] for one in x]
    np.testing.assert_allclose(found.numpy(), np.concatenate(one_by_one), atol=1e-4)
    torch.testing.assert_close(found, network(x).detach(), atol=1e-4, rtol=1e-4)


def test_a_graph_that_takes_one_image_only_says_so(tmp_path: Path) -> None:
    path = export(_vit(), torch.zeros(1, 3, 16, 16), tmp_path / "n.onnx", fixed=True)
    steps = STEPS.model_copy(update={"size": (16, 16)})
    with pytest.raises(NoGradients, match=r"one batch size only .* Export it with the batch as a dynamic axis"):
        normalised_graph(path, ModelSpec(format="onnx", preprocessing=steps), CPU)


def products(path: Path, spec: ModelSpec, x: torch.Tensor) -> torch.Tensor:
    """Inner products [n, n] of whole gradients: nothing is projected."""
    tapped = TappedNetwork(normalised_graph(path, spec, CPU), x[:1])
    assert tapped.untapped == ()
    sketch = GradientSketch(tapped.taps, 10**8, 0)
    y = torch.arange(len(x)) % 3
    features = sketch.features(tapped.factors(x, lambda logits: margin(logits, y))[1])
    return features @ features.T


def test_gradients_are_those_of_the_same_network_as_safetensors(tmp_path: Path) -> None:
    network, x = tiny_net(), torch.randn(5, 3, SIDE, SIDE)
    whole = products(save_safetensors(tmp_path / "n.safetensors", network), spec_for("safetensors"), x)
    handmade = products(save_onnx(tmp_path / "n.onnx", network), spec_for("onnx"), x)
    torch.testing.assert_close(handmade, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dynamo", [False, True])
def test_gradients_of_a_transformer_are_those_of_safetensors(tmp_path: Path, dynamo: bool) -> None:
    torch.manual_seed(0)
    network, x = _vit().eval(), torch.randn(4, 3, 16, 16)
    # Exporters store equal arrays once, such as the ones and zeros that no training has moved.
    for side in network.parameters():
        side.data += 0.02 * torch.randn_like(side)
    steps = STEPS.model_copy(update={"size": (16, 16)})
    path = export(network, x[:2], tmp_path / "n.onnx", dynamo=dynamo)
    found = products(path, ModelSpec(format="onnx", preprocessing=steps, classes=("a", "b", "c")), x)
    y = torch.arange(4) % 3
    rows = []
    for i in range(4):
        own = torch.autograd.grad(margin(network(x[i : i + 1]), y[i : i + 1])[0], list(network.parameters()))
        rows.append(torch.cat([side.flatten() for side in own]))
    whole = torch.stack(rows)
    torch.testing.assert_close(found, whole @ whole.T, rtol=1e-4, atol=1e-4)


def test_probabilities_are_looked_through(tmp_path: Path) -> None:
    network, x = tiny_net(), torch.randn(5, 3, SIDE, SIDE)
    plain = save_onnx(tmp_path / "plain.onnx", network)
    model = onnx.load(plain)
    model.graph.node[-1].output[0] = "logits"
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["scores"]))
    onnx.save(model, tmp_path / "soft.onnx")
    found = products(tmp_path / "soft.onnx", spec_for("onnx", outputs="probabilities"), x)
    torch.testing.assert_close(found, products(plain, spec_for("onnx"), x))


def test_every_unknown_operation_is_named() -> None:
    nodes = [
        helper.make_node("Sinh", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Resize", ["b", "", "scales"], ["y"]),
    ]
    with pytest.raises(NoGradients, match="ONNX operations Resize, Sinh are not known, so the network gives no grad"):
        OnnxNetwork(graph_of(nodes, {"scales": np.ones(4, np.float32)}))


def test_a_known_operation_in_an_unknown_form_is_named() -> None:
    node = _node("MaxPool", outputs=("y", "places"), **_POOL)
    with pytest.raises(NoGradients, match="MaxPool is not known in this form"):
        OnnxNetwork(graph_of([node]))(torch.zeros(1, 4, 9, 7))


def test_a_conversion_that_gives_other_numbers_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.loaders.models.onnx_graph import network

    monkeypatch.setitem(network.OPERATIONS, "Relu", lambda _, x: x)
    with pytest.raises(NoGradients, match="other outputs than onnxruntime"):
        normalised_graph(save_onnx(tmp_path / "n.onnx", tiny_net()), spec_for("onnx"), CPU)


def test_a_graph_of_bytes(tmp_path: Path) -> None:
    weights = {"w": W["w"][:3, :3], "m": W["m"][:3]}
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["p"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["p", "m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "n.onnx")
    steps = Preprocessing(size=(SIDE, SIDE), resize="stretch", crop="none", scale=255, mean=(0, 0, 0), std=(1, 1, 1))
    tapped = TappedNetwork(
        normalised_graph(tmp_path / "n.onnx", ModelSpec(format="onnx", preprocessing=steps), CPU),
        torch.zeros(1, 3, SIDE, SIDE),
    )
    assert len(tapped.taps) == 2
