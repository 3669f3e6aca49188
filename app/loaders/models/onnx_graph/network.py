"""An ONNX graph as a module of torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import inliner, numpy_helper
from torch import Tensor, nn

from app.loaders.models.formats.onnx import image_input, input_shape, load, read_graph
from app.loaders.models.no_gradients import BoundToBatch, NoGradients
from app.loaders.models.onnx_graph.arrays import separated
from app.loaders.models.onnx_graph.known import compute, shape_of
from app.loaders.models.onnx_graph.layers import LAYERS
from app.loaders.models.onnx_graph.moves import MOVES
from app.loaders.models.onnx_graph.node import HostArray, Node, Operation, UnknownOperation, Value, read_node
from app.loaders.models.onnx_graph.pointwise import POINTWISE
from app.loaders.models.spec import ModelSpec

OPERATIONS: dict[str, Operation] = {**LAYERS, **MOVES, **POINTWISE}
"""Differentiable operations by their ONNX name."""
_DOMAINS = ("", "ai.onnx")


class OnnxNetwork(nn.Module):
    """Runs the operations of an ONNX graph as torch's own, so that `torch.export` can write them down.

    Fractional weights are parameters in float32; the statistics of batch normalisation are not.

    Raises:
        UnknownOperation: names every operation that is not known.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        model = inliner.inline_local_functions(model)
        opset = max(entry.version for entry in model.opset_import if entry.domain in _DOMAINS)
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        nodes = [read_node(proto, opset) for proto in model.graph.node]
        self._nodes, arrays, statistics = separated(nodes, arrays)
        self._image, self._outputs = image_input(model).name, [output.name for output in model.graph.output]
        self._bytes = image_input(model).type.tensor_type.elem_type == onnx.TensorProto.UINT8
        self._bound = input_shape(model)[0]
        self._known: dict[str, HostArray] = {}
        self._weights: dict[str, str] = {}
        for name, array in arrays.items():
            self._keep(name, array, fixed=name in statistics)
        _refuse_unknown(self._nodes, {"", *self._known})

    def _keep(self, name: str, array: HostArray, *, fixed: bool) -> None:
        if array.dtype.kind != "f" or array.size < 2:
            self._known[name] = array
            return
        weight = torch.from_numpy(array.astype(np.float32))
        self._weights[name] = f"w{len(self._weights)}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        if fixed:
            self.register_buffer(self._weights[name], weight)
        else:
            self.register_parameter(self._weights[name], nn.Parameter(weight))

    def forward(self, images: Tensor) -> tuple[Value | None, ...]:
        """Return the graph's outputs; images float32 [n, channels, height, width]."""
        values: dict[str, Value | None] = {"": None, **self._known}
        values |= {name: getattr(self, attribute) for name, attribute in self._weights.items()}
        values[self._image] = images.to(torch.uint8) if self._bytes else images
        for node in self._nodes:
            found = self._run(node, [values[name] for name in node.inputs], images.shape[0])
            parts = found if isinstance(found, tuple) else (found,)
            values.update(zip(node.outputs, parts, strict=False))
        return tuple(values[name] for name in self._outputs)

    def _run(self, node: Node, args: list[Any], batch: int) -> Any:
        if node.kind == "Shape":
            return shape_of(node, args[0])
        if not any(isinstance(arg, Tensor) for arg in args):
            return compute(node, args)
        if node.kind not in OPERATIONS:
            raise node.unknown("on a value that depends on the image")
        if node.kind == "Reshape" and self._bound is not None:
            args[1] = self._unbound(args[0], args[1], batch)
        return OPERATIONS[node.kind](node, *args)

    def _unbound(self, x: Tensor, shape: Value, batch: int) -> Value:
        """The shape that a graph bound to one batch size asks for, for any batch size."""
        if isinstance(shape, Tensor) or (x.shape[0] is not batch and x.shape[0] != batch):
            return shape
        if not shape.size or shape.reshape(-1)[0] != self._bound:
            return shape
        freed = shape.astype(object)
        freed[0] = batch
        return freed


def _refuse_unknown(nodes: Sequence[Node], known: set[str]) -> None:
    """Refuse what acts on the image or a weight and has no differentiable form; the rest is computed beforehand."""
    unknown = set()
    for node in nodes:
        if node.kind == "Shape" or known.issuperset(node.inputs):
            known.update(node.outputs)
        elif node.kind not in OPERATIONS or node.proto.domain not in _DOMAINS:
            unknown.add(".".join(part for part in (node.proto.domain, node.kind) if part))
    if unknown:
        raise UnknownOperation(sorted(unknown))


def read_network(path: Path, spec: ModelSpec) -> OnnxNetwork:
    """Read an ONNX file as a network, and see that it gives what onnxruntime gives.

    Raises:
        UnknownOperation: some operation has no differentiable form here.
        NoGradients: it gives something else, or takes one batch size only.
        NotAModel: see `app.loaders.models.formats.onnx.read_graph`.
    """
    model = read_graph(path)
    network = OnnxNetwork(model).eval()
    steps = spec.preprocessing
    images = torch.rand(
        input_shape(model)[0] or 2, steps.channels, *steps.size, generator=torch.Generator().manual_seed(0)
    )
    images *= steps.scale
    right = load(path, spec, torch.device("cpu"), torch.float32).run(images)[0]
    if not all(_agree(*pair) for pair in zip(network(images), right, strict=True)):
        raise NoGradients(
            "The network, written in torch's operations, gives other outputs than onnxruntime, so its gradients cannot "
            "be trusted; upload it as safetensors or with torch.export."
        )
    _require_any_batch(network, images)
    return network


def _require_any_batch(network: OnnxNetwork, images: Tensor) -> None:
    try:
        network(images[:1].expand(len(images) + 1, -1, -1, -1))
    except RuntimeError as error:
        raise BoundToBatch(str(error).splitlines()[0][:200]) from error


def _agree(found: Value | None, right: Tensor) -> bool:
    if not isinstance(found, Tensor) or found.shape != right.shape:
        return False
    least = 1e-3 * float(right.abs().max())
    return torch.allclose(found.float(), right.float(), rtol=1e-3, atol=least, equal_nan=True)
