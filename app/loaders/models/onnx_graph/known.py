"""Values that are known before the image is: shapes, indices, constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from app.loaders.models.onnx_graph.node import HostArray, Node, Value

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def shape_of(node: Node, x: Value) -> HostArray:
    """The operation Shape: lengths of the axes, whole numbers where they are fixed."""
    lengths = np.empty(len(x.shape), object)
    lengths[:] = list(x.shape)
    return settled(lengths[slice(node.get("start", 0), node.get("end"))])


def compute(node: Node, args: list[HostArray | None]) -> Any:
    """Evaluate an operation on known values, by the reference implementation where no length is open.

    Raises:
        UnknownOperation: an operation on open lengths that is not one of arithmetic or of moving entries.
    """
    if any(isinstance(arg, np.ndarray) and arg.dtype == object for arg in args):
        return _with_open_lengths(node, args)
    feeds = {name: arg for name, arg in zip(node.inputs, args, strict=True) if name and arg is not None}
    found = ReferenceEvaluator(node.proto, opsets={"": node.opset}).run(None, feeds)
    arrays = tuple(np.asarray(one) for one in found)
    return arrays if len(arrays) > 1 else arrays[0]


def settled(values: HostArray) -> HostArray:
    """Entries as whole numbers (or truths) once none is open."""
    entries = values.reshape(-1).tolist()
    if all(type(entry) is bool for entry in entries):
        return values.astype(np.bool_)
    return values.astype(np.int64) if all(type(entry) is int for entry in entries) else values


def _with_open_lengths(node: Node, args: list[HostArray | None]) -> Value:
    if node.kind not in _OPEN:
        raise node.unknown("on a number that depends on the batch size")
    found = _OPEN[node.kind](node, *args)
    return found if isinstance(found, Tensor) else settled(np.asarray(found, object))


def _axes(node: Node, given: HostArray | None) -> tuple[int, ...] | None:
    found = node.numbers("axes", given)
    return None if found is None else tuple(found)


def _slice(
    node: Node,
    x: HostArray,
    starts: HostArray | None = None,
    ends: HostArray | None = None,
    axes: HostArray | None = None,
    steps: HostArray | None = None,
) -> HostArray:
    return x[slices(node, x.ndim, starts, ends, axes, steps)]


def slices(
    node: Node,
    dimensions: int,
    starts: Value | None = None,
    ends: Value | None = None,
    axes: Value | None = None,
    steps: Value | None = None,
) -> tuple[slice, ...]:
    """The index that the operation Slice means; numbers are inputs, or attributes in old versions."""
    first, last = node.numbers("starts", starts) or [], node.numbers("ends", ends) or []
    places = node.numbers("axes", axes) or list(range(len(first)))
    jumps = node.numbers("steps", steps) or [1] * len(first)
    found = [slice(None)] * dimensions
    for place, start, stop, jump in zip(places, first, last, jumps, strict=True):
        found[place] = slice(start, stop, jump)
    return tuple(found)


def _each(change: Callable[[Any, Any], Any]) -> Callable[..., HostArray]:
    def run(_: Node, a: HostArray, b: HostArray) -> HostArray:
        left, right = np.broadcast_arrays(a.astype(object), b.astype(object))
        found = np.empty(left.shape, object)
        pairs = zip(left.reshape(-1).tolist(), right.reshape(-1).tolist(), strict=True)
        found.reshape(-1)[:] = [change(x, y) for x, y in pairs]
        return found

    return run


def _cast(node: Node, x: HostArray) -> HostArray:
    if node.get("to") in _FLOATS:
        raise node.unknown("a batch size as a fraction")
    return x


def _filling(node: Node) -> Any:
    found = node.get("value")
    return 0.0 if found is None else found.item()


def _range(_: Node, start: HostArray, limit: HostArray, step: HostArray) -> Tensor:
    return torch.arange(start.item(), limit.item(), step.item())


_OPEN: dict[str, Callable[..., Value]] = {
    "Add": _each(lambda x, y: x + y),
    "Cast": _cast,
    "Concat": lambda node, *parts: np.concatenate([part.astype(object) for part in parts], node.get("axis")),
    "ConstantOfShape": lambda node, shape: torch.full(shape.tolist(), _filling(node)),
    "Div": _each(lambda x, y: x // y),
    "Equal": _each(lambda x, y: bool(x == y)),
    "Gather": lambda node, x, at: x.take(at.astype(np.int64), axis=node.get("axis", 0)),
    "Identity": lambda _, x: x,
    "Mod": _each(lambda x, y: x % y),
    "Mul": _each(lambda x, y: x * y),
    "Range": _range,
    "ReduceProd": lambda node, x, axes=None: x.prod(axis=_axes(node, axes), keepdims=bool(node.get("keepdims", 1))),
    "Reshape": lambda _, x, shape: x.reshape(shape.tolist()),
    "Slice": _slice,
    "Squeeze": lambda node, x, axes=None: x.squeeze(_axes(node, axes)),
    "Sub": _each(lambda x, y: x - y),
    "Unsqueeze": lambda node, x, axes=None: np.expand_dims(x, _axes(node, axes) or ()),
    "Where": lambda _, truth, x, y: np.where(truth, x.astype(object), y.astype(object)),
}
"""Operations on arrays of which some entry is a length that is not fixed."""
