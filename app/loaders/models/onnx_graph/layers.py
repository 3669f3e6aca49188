"""Operations with weights, and pooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from app.loaders.models.onnx_graph.node import Node, Operation, Value, as_tensor


def _steps(node: Node, name: str, dimensions: int) -> list[int]:
    return [int(step) for step in node.get(name) or [1] * dimensions]


def _pads(node: Node, x: Tensor, kernel: list[int]) -> list[tuple[int, int]]:
    """Cells before and after each axis of space."""
    count, automatic = len(kernel), node.get("auto_pad", "NOTSET")
    if automatic == "NOTSET":
        pads = list(node.get("pads") or [0] * 2 * count)
        return list(zip(pads[:count], pads[count:], strict=True))
    if automatic == "VALID":
        return [(0, 0)] * count
    found = []
    steps = (_steps(node, "strides", count), _steps(node, "dilations", count))
    for length, size, stride, dilation in zip(x.shape[2:], kernel, *steps, strict=True):
        whole = max((-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length, 0)
        sides = whole // 2, whole - whole // 2
        found.append(sides if automatic == "SAME_UPPER" else sides[::-1])
    return found


def _padded(node: Node, x: Tensor, kernel: list[int], value: float = 0.0, limit: bool = False) -> tuple[Any, list[int]]:
    """The input, and the padding that is left to the layer: none where the two sides differ.

    `limit`: the layer takes at most half a window, as torch's pooling does.
    """
    pads = _pads(node, x, kernel)
    even = all(first == last for first, last in pads)
    if even and not (limit and any(first > size // 2 for (first, _), size in zip(pads, kernel, strict=True))):
        return x, [first for first, _ in pads]
    flat = [side for pair in reversed(pads) for side in pair]
    return functional.pad(x, flat, value=value), [0] * len(kernel)


_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: torch.conv_transpose1d,
    2: torch.conv_transpose2d,
    3: torch.conv_transpose3d,
}


def _convolution(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Tensor:
    filters, images = as_tensor(weight), as_tensor(x)
    kernel, count = list(filters.shape[2:]), filters.dim() - 2
    images, pads = _padded(node, images, kernel)
    steps, gaps = _steps(node, "strides", count), _steps(node, "dilations", count)
    shift = None if bias is None else as_tensor(bias)
    return _CONVOLUTIONS[count](images, filters, shift, steps, pads, gaps, node.get("group", 1))


def _transposed(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Tensor:
    filters, images = as_tensor(weight), as_tensor(x)
    count = filters.dim() - 2
    if node.get("auto_pad", "NOTSET") != "NOTSET" or node.get("output_shape"):
        raise node.unknown("a padding that follows from the output's shape")
    pads = _pads(node, images, list(filters.shape[2:]))
    if any(first != last for first, last in pads):
        raise node.unknown("a padding that differs between the sides")
    shift = None if bias is None else as_tensor(bias)
    sides = [first for first, _ in pads], list(node.get("output_padding") or [0] * count)
    steps, gaps = _steps(node, "strides", count), _steps(node, "dilations", count)
    return _TRANSPOSED[count](images, filters, shift, steps, *sides, node.get("group", 1), gaps)


def _gemm(node: Node, a: Value, b: Value, c: Value | None = None) -> Tensor:
    left, right, alpha, beta = as_tensor(a), as_tensor(b), node.get("alpha", 1.0), node.get("beta", 1.0)
    left = left.t() if node.get("transA", 0) else left
    shift = None if c is None else as_tensor(c)
    plain = alpha == 1 and (shift is None or (beta == 1 and shift.dim() == 1))
    if node.get("transB", 0) and plain and (shift is None or len(shift) == len(right)):
        return functional.linear(left, right, shift)
    product = functional.linear(left, right) if node.get("transB", 0) else left @ right
    product = product if alpha == 1 else product * alpha
    if shift is None:
        return product
    return product + (shift if beta == 1 else shift * beta)


def _batch_norm(node: Node, x: Value, scale: Value, shift: Value, mean: Value, variance: Value) -> Tensor:
    if node.get("training_mode", 0) or len(node.outputs) > 1:
        raise node.unknown("training mode; export the network after model.eval()")
    statistics, weight, bias = (as_tensor(mean), as_tensor(variance)), as_tensor(scale), as_tensor(shift)
    return functional.batch_norm(as_tensor(x), *statistics, weight, bias, False, 0.0, node.get("epsilon", 1e-5))


def _layer_norm(node: Node, x: Value, scale: Value, shift: Value | None = None) -> Tensor:
    if len(node.outputs) > 1:
        raise node.unknown("with its statistics as outputs")
    images, weight = as_tensor(x), as_tensor(scale)
    shape = list(images.shape)[node.get("axis", -1) :]
    bias = None if shift is None else _whole(as_tensor(shift), shape)
    return functional.layer_norm(images, shape, _whole(weight, shape), bias, node.get("epsilon", 1e-5))


def _whole(side: Tensor, shape: list[Any]) -> Tensor:
    return side if list(side.shape) == shape else side.expand(shape)


def _root_norm(node: Node, x: Value, scale: Value) -> Tensor:
    images = as_tensor(x)
    return functional.rms_norm(
        images, list(images.shape)[node.get("axis", -1) :], as_tensor(scale), node.get("epsilon", 1e-5)
    )


def _instance_norm(node: Node, x: Value, scale: Value, shift: Value) -> Tensor:
    weight, bias = as_tensor(scale), as_tensor(shift)
    return functional.instance_norm(as_tensor(x), weight=weight, bias=bias, eps=node.get("epsilon", 1e-5))


def _group_norm(node: Node, x: Value, scale: Value, shift: Value) -> Tensor:
    images, groups = as_tensor(x), node.get("num_groups")
    if len(scale) != images.shape[1]:
        raise node.unknown("one scale a group; opset 21 has one a channel")
    return functional.group_norm(images, groups, as_tensor(scale), as_tensor(shift), node.get("epsilon", 1e-5))


_MAX_POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_MEAN_POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


def _max_pool(node: Node, x: Value) -> Tensor:
    if len(node.outputs) > 1:
        raise node.unknown("with places as a second output")
    kernel = list(node.get("kernel_shape"))
    images, pads = _padded(node, as_tensor(x), kernel, -math.inf, limit=True)
    steps, gaps = _steps(node, "strides", len(kernel)), _steps(node, "dilations", len(kernel))
    return _MAX_POOLS[len(kernel)](images, kernel, steps, pads, gaps, ceil_mode=bool(node.get("ceil_mode", 0)))


def _mean_pool(node: Node, x: Value) -> Tensor:
    kernel = list(node.get("kernel_shape"))
    if any(gap != 1 for gap in _steps(node, "dilations", len(kernel))):
        raise node.unknown("with gaps in the window")
    counted, whole = bool(node.get("count_include_pad", 0)), as_tensor(x)
    images, pads = _padded(node, whole, kernel, limit=True)
    steps, ceil = _steps(node, "strides", len(kernel)), bool(node.get("ceil_mode", 0))
    pool = _MEAN_POOLS[len(kernel)]
    found = pool(images, kernel, steps, pads, ceil, counted)
    if counted or images is whole:
        return found
    ones, _ = _padded(node, torch.ones_like(whole[:1, :1]), kernel, limit=True)
    return found / pool(ones, kernel, steps, pads, ceil, counted)


LAYERS: dict[str, Operation] = {
    "AveragePool": _mean_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: as_tensor(x).mean(list(range(2, x.ndim)), keepdim=True),
    "GlobalMaxPool": lambda _, x: as_tensor(x).amax(list(range(2, x.ndim)), keepdim=True),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LRN": lambda node, x: functional.local_response_norm(
        as_tensor(x), node.get("size"), node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    ),
    "MatMul": lambda _, a, b: as_tensor(a) @ as_tensor(b),
    "MaxPool": _max_pool,
    "RMSNormalization": _root_norm,
}
