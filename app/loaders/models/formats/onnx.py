"""ONNX graphs, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from torch import Tensor

from app.loaders.models.sniff import NotAModel
from app.loaders.models.spec import ModelSpec

_LINEAR = ("Gemm", "MatMul")
_TRANSPARENT = ("Add", "Identity", "Softmax", "LogSoftmax", "Flatten", "Reshape", "Cast", "Squeeze")
_FEATURES = "faultline_features"
_TYPES: dict[int, type[np.generic]] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.UINT8: np.uint8,
}
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


class OnnxBackend:
    """An onnxruntime session; features are the last Gemm or MatMul's input, made an output of the graph."""

    def __init__(self, model: onnx.ModelProto, device: torch.device) -> None:
        image = image_input(model)
        self._input, self._type = image.name, _TYPES[image.type.tensor_type.elem_type]
        self.fixed_batch = input_shape(model)[0]
        self._outputs = [output.name for output in model.graph.output]
        self.shows_features = expose_features(model)
        self._session = _session(model, device)

    def run(self, images: Tensor) -> tuple[Any, Tensor | None]:
        """See `Backend`."""
        batch = images.cpu().numpy().astype(self._type, copy=False)
        wanted = [*self._outputs, _FEATURES] if self.shows_features else self._outputs
        try:
            arrays = self._session.run(wanted, {self._input: batch})
        except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
            raise RuntimeError(str(error)) from error
        tensors = [torch.from_numpy(array) for array in arrays if isinstance(array, np.ndarray)]
        if not self.shows_features:
            return tensors, None
        *outputs, features = tensors
        usable = features.ndim == 2 and len(features) == len(images)
        return outputs, features.float() if usable else None


def load(path: Path, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> OnnxBackend:
    """Check the graph and open a session; precision is the graph's own.

    Raises:
        NotAModel: damaged, weights in other files, unknown operators, or several inputs.
    """
    return OnnxBackend(read_graph(path), device)


def read_graph(path: Path) -> onnx.ModelProto:
    """Parse and check the file; no other file is opened.

    Raises:
        NotAModel: see `load`.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise NotAModel("The ONNX file is damaged or was cut off. Send it again.") from error
    _refuse_external_data(model)
    foreign = sorted({entry.domain for entry in model.opset_import if entry.domain not in _DOMAINS})
    if foreign:
        raise NotAModel(f"The ONNX graph uses operators of {', '.join(foreign)}, which no standard runtime has.")
    image_input(model)
    return model


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The graph's one input that is not a weight.

    Raises:
        NotAModel: none or several, or not a 4-D tensor of numbers.
    """
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [entry for entry in model.graph.input if entry.name not in weights]
    if len(inputs) != 1:
        raise NotAModel(f"The ONNX graph has {len(inputs)} inputs; Faultline needs one, the images.")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in _TYPES or len(tensor.shape.dim) != 4:
        raise NotAModel("The ONNX graph's input must be images: numbers of shape [batch, channels, height, width].")
    image: onnx.ValueInfoProto = inputs[0]
    return image


def input_shape(model: onnx.ModelProto) -> tuple[int | None, ...]:
    """Batch, channels, height and width of the input; None where the graph leaves them free."""
    return tuple(dimension.dim_value or None for dimension in image_input(model).type.tensor_type.shape.dim)


def expose_features(model: onnx.ModelProto) -> bool:
    """Give the input of the last linear operation before the first output a name and make it an output."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _TRANSPARENT:
        node = next((makers[name] for name in node.input if name in makers), None)
    if node is None or node.op_type not in _LINEAR:
        return False
    model.graph.node.append(onnx.helper.make_node("Identity", [node.input[0]], [_FEATURES]))
    model.graph.output.append(onnx.ValueInfoProto(name=_FEATURES))
    return True


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The key/value pairs that the exporter left."""
    return {entry.key: entry.value for entry in model.metadata_props}


def _refuse_external_data(model: onnx.ModelProto) -> None:
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise NotAModel(
            "The ONNX file keeps its weights in other files. Save it as one file: "
            "torch.onnx.export(…, external_data=False), or "
            "onnx.save(onnx.load('model.onnx'), 'single.onnx', save_as_external_data=False)."
        )


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of the model: initialisers, constants, those of subgraphs and functions."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes += graph.node
            yield from graph.initializer
            yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
        for attribute in (attribute for node in nodes for attribute in node.attribute):
            graphs += [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs
            yield from (attribute.t, *attribute.tensors)
        nodes = []


def _session(model: onnx.ModelProto, device: torch.device) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    wanted = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    providers = [
        p for p in dict.fromkeys((wanted, "CPUExecutionProvider")) if p in onnxruntime.get_available_providers()
    ]
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    except Exception as error:  # as in `run`
        raise NotAModel(f"The ONNX graph is not valid: {str(error)[:200]}.") from error
