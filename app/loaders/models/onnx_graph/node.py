"""One operation of an ONNX graph, and what flows between operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.loaders.models.no_gradients import NoGradients

HostArray = NDArray[Any]
Value = Tensor | HostArray
"""A tensor that depends on the image or a weight, or a number that is known while the graph is written: an array of
NumPy; of objects where a length that is not fixed (the batch) is among its entries."""
Operation = Callable[..., Any]
"""(node, *inputs) → output, or a tuple of outputs; an input that is left out is None."""


class UnknownOperation(NoGradients):
    """An operation, or a form of it, that is not differentiated here; the message names it."""

    def __init__(self, kinds: Sequence[str], why: str = "") -> None:
        several = len(kinds) > 1
        super().__init__(
            f"ONNX operation{'s' if several else ''} {', '.join(kinds)} {'are' if several else 'is'} not known"
            f"{f' in this form ({why})' if why else ''}, so the network gives no gradients; upload it as safetensors "
            "or with torch.export."
        )


@dataclass(frozen=True)
class Node:
    """An operation with its attributes as Python values."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    proto: onnx.NodeProto

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def numbers(self, name: str, given: Value | None = None) -> list[Any] | None:
        """Return whole numbers that are an input in new versions of the operation and an attribute in old ones."""
        if given is not None:
            return self.host(given)
        found = self.attributes.get(name)
        return None if found is None else list(found) if isinstance(found, (list, tuple)) else [found]

    def host(self, value: Value) -> list[Any]:
        """Return the entries of a value that has to be known before the image is.

        Raises:
            UnknownOperation: it is computed from the image.
        """
        if isinstance(value, Tensor):
            raise self.unknown("a shape or index that depends on the image")
        return list(value.reshape(-1).tolist())

    def unknown(self, why: str) -> UnknownOperation:
        """Return the error that says which form of the operation is not known."""
        return UnknownOperation([self.kind], why)


def read_node(proto: onnx.NodeProto, opset: int) -> Node:
    """Decode a node; subgraphs stay as they are."""
    attributes = {entry.name: _decoded(onnx.helper.get_attribute_value(entry)) for entry in proto.attribute}
    return Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes, opset, proto)


def _decoded(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


def as_tensor(value: Value) -> Tensor:
    """A known array as a constant of the graph; float16 and float64 become float32."""
    if isinstance(value, Tensor):
        return value
    found = torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape))
    return found.float() if found.is_floating_point() else found


def as_operand(value: Value, other: Value) -> Any:
    """A single number as itself, so that no tensor is made of it; anything else as a tensor."""
    if isinstance(value, np.ndarray) and value.size == 1 and isinstance(other, Tensor) and value.ndim <= other.dim():
        return value.reshape(-1).tolist()[0]
    return as_tensor(value)
