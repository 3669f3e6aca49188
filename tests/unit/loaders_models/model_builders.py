"""Small networks and packed images for the tests of model loading."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from app.loaders.models.spec import ModelSpec, Preprocessing

SIDE = 8
CLASSES = ("ant", "bee", "cat")
LAYERS = [
    {"conv2d": {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "padding": 1}},
    {"relu": {}},
    {"flatten": {}},
    {"linear": {"in_features": 4 * SIDE * SIDE, "out_features": 5}},
    {"relu": {}},
    {"linear": {"in_features": 5, "out_features": 3}},
]
STEPS = Preprocessing(size=(SIDE, SIDE), resize="stretch", crop="none", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def tiny_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * SIDE * SIDE, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    ).eval()


class ColourNet(nn.Module):
    """Says which channel is strongest: knows red, green and blue in that order; expects values 0–1."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3, bias=False)
        self.linear.weight.data = torch.eye(3)

    def forward(self, x):
        return self.linear(x.mean((2, 3)))


def save_safetensors(path: Path, model: nn.Module, metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path, metadata)
    return path


def save_torchscript(path: Path, model: nn.Module, batch: int = 2, extra: dict[str, str] | None = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, torch.zeros(batch, 3, SIDE, SIDE), check_trace=False, strict=False)
        torch.jit.save(traced, str(path), _extra_files=extra or {})
    return path


def save_script(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), str(path))
    return path


def save_export(path: Path, model: nn.Module, *, fixed: int | None = None) -> Path:
    shapes = None if fixed else ({0: torch.export.Dim("batch", min=1, max=4096)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (torch.zeros(fixed or 2, 3, SIDE, SIDE),), dynamic_shapes=shapes)
        torch.export.save(program, str(path))
    return path


def save_onnx(
    path: Path, model: nn.Sequential, *, fixed: int | None = None, props: dict[str, str] | None = None
) -> Path:
    """Write `tiny_net` as a graph by hand: no exporter is needed."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {name.replace(".", "_"): tensor.numpy() for name, tensor in model.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["image", "0_weight", "0_bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "3_weight", "3_bias"], ["d"], transB=1),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "last"], ["f"]),
        helper.make_node("Add", ["f", "5_bias"], ["scores"]),
    ]
    weights["last"] = weights.pop("5_weight").T.copy()
    batch = fixed or "batch"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, props or {})
    onnx.save(made, str(path))
    return path


def spec_for(kind: str, **changes) -> ModelSpec:
    fields = {"format": kind, "preprocessing": STEPS, "classes": CLASSES}
    if kind == "safetensors":
        fields["architecture"] = LAYERS
    return ModelSpec(**{**fields, **changes})


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def noise(count: int, side: int = SIDE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def pack(folder: Path, files: list[bytes]) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.bin").write_bytes(b"".join(files))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, files)]))
    return folder / "images.bin", folder / "offsets.npy"
