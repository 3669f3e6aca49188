"""Operations that move, join, cut and sum entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from app.loaders.models.onnx_graph.known import slices
from app.loaders.models.onnx_graph.node import Node, Operation, Value, as_tensor

_TYPES = {
    TensorProto.BOOL: torch.bool,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16), torch.float32),
}
"""Fractions are float32, whatever the file calls them."""
_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _cast(node: Node, x: Value) -> Tensor:
    if node.get("to") not in _TYPES:
        raise node.unknown("to a type that torch lacks")
    return as_tensor(x).to(_TYPES[node.get("to")])


def _flatten(node: Node, x: Value) -> Tensor:
    images = as_tensor(x)
    axis = node.get("axis", 1) % (images.dim() + 1)
    return images.flatten(1) if axis == 1 else images.reshape(int(np.prod(images.shape[:axis])), -1)


def _reshape(node: Node, x: Value, shape: Value) -> Tensor:
    images = as_tensor(x)
    wanted = node.host(shape)
    if not node.get("allowzero", 0):
        wanted = [images.shape[place] if length == 0 else length for place, length in enumerate(wanted)]
    return images.reshape(wanted)


def _transpose(node: Node, x: Value) -> Tensor:
    images = as_tensor(x)
    return images.permute(node.get("perm") or list(range(images.dim()))[::-1])


def _squeeze(node: Node, x: Value, axes: Value | None = None) -> Tensor:
    images = as_tensor(x)
    places = node.numbers("axes", axes)
    if places is None:
        places = [place for place, length in enumerate(images.shape) if isinstance(length, int) and length == 1]
    return images.squeeze(tuple(places))


def _unsqueeze(node: Node, x: Value, axes: Value | None = None) -> Tensor:
    images = as_tensor(x)
    places = node.numbers("axes", axes) or []
    whole = images.dim() + len(places)
    for place in sorted(place % whole for place in places):
        images = images.unsqueeze(place)
    return images


def _slice(node: Node, x: Value, *rest: Value | None) -> Tensor:
    images = as_tensor(x)
    index = slices(node, images.dim(), *rest)
    if any(part.step is not None and part.step < 0 for part in index):
        raise node.unknown("backwards")
    return images[index]


def _split(node: Node, x: Value, sizes: Value | None = None) -> tuple[Tensor, ...]:
    images, axis = as_tensor(x), node.get("axis", 0)
    found = node.numbers("split", sizes)
    if found is None:
        found = [-(-images.shape[axis] // len(node.outputs))] * (len(node.outputs) - 1)
        found.append(images.shape[axis] - sum(found))
    return torch.split_with_sizes(images, found, axis)


def _gather(node: Node, x: Value, at: Value) -> Tensor:
    images, axis = as_tensor(x), node.get("axis", 0)
    if isinstance(at, Tensor):
        if axis % images.dim() or images.dim() != 2:
            return _spread(images.index_select(axis, at.flatten()), axis, at.shape)
        return functional.embedding(at, images)
    if at.ndim == 0:
        return images.select(axis, at.item())
    flat = torch.from_numpy(at.astype(np.int64).reshape(-1) % images.shape[axis])
    found = images.index_select(axis, flat)
    return found if at.ndim == 1 else _spread(found, axis, at.shape)


def _spread(x: Tensor, axis: int, shape: Sequence[int]) -> Tensor:
    """Give one axis several lengths."""
    axis %= x.dim()
    return x.reshape(*x.shape[:axis], *shape, *x.shape[axis + 1 :])


def _pad(
    node: Node, x: Value, pads: Value | None = None, fill: Value | None = None, axes: Value | None = None
) -> Tensor:
    images, mode = as_tensor(x), _PAD_MODES[node.get("mode", "constant")]
    sides = node.numbers("pads", pads) or []
    half = len(sides) // 2
    places = [place % images.dim() for place in node.numbers("", axes) or range(half)]
    flat = [0] * 2 * images.dim()
    for place, first, last in zip(places, sides[:half], sides[half:], strict=True):
        start = 2 * (images.dim() - 1 - place)
        flat[start : start + 2] = [first, last]
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    value = node.host(fill)[0] if fill is not None else node.get("value", 0.0)
    return functional.pad(images, flat, mode, value if mode == "constant" else None)


def _expand(node: Node, x: Value, shape: Value) -> Tensor:
    images = as_tensor(x)
    wanted = node.host(shape)
    missing = len(wanted) - images.dim()
    own = [1] * missing + list(images.shape)
    wanted = [1] * -missing + wanted
    pairs = zip(own[-len(wanted) :], wanted, strict=True)
    return images.expand([length if goal == 1 else goal for length, goal in pairs])


def _tile(node: Node, x: Value, repeats: Value) -> Tensor:
    return as_tensor(x).repeat(node.host(repeats))


def _to_space(node: Node, x: Value) -> Tensor:
    images, size = as_tensor(x), node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(images, size)
    n, channels, height, width = images.shape
    parts = images.reshape(n, size, size, channels // size**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, channels // size**2, height * size, width * size)


def _to_depth(node: Node, x: Value) -> Tensor:
    images, size = as_tensor(x), node.get("blocksize")
    n, channels, height, width = images.shape
    parts = images.reshape(n, channels, height // size, size, width // size, size).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, channels * size**2, height // size, width // size)


def _reduce(change: Callable[[Tensor, list[int], bool], Tensor]) -> Operation:
    def run(node: Node, x: Value, axes: Value | None = None) -> Tensor:
        images = as_tensor(x)
        places = node.numbers("axes", axes)
        if not places and node.get("noop_with_empty_axes", 0):
            return images
        return change(images, places or list(range(images.dim())), bool(node.get("keepdims", 1)))

    return run


def _concat(node: Node, *parts: Value) -> Tensor:
    return torch.cat([as_tensor(part) for part in parts], node.get("axis"))


MOVES: dict[str, Operation] = {
    "Cast": _cast,
    "Concat": _concat,
    "DepthToSpace": _to_space,
    "Einsum": lambda node, *parts: torch.einsum(node.get("equation"), *[as_tensor(part) for part in parts]),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": lambda _, x: x,
    "Pad": _pad,
    "ReduceL2": _reduce(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceMax": _reduce(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMin": _reduce(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
