"""Operations on single numbers, and activations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from app.loaders.models.onnx_graph.node import Node, Operation, Value, as_operand, as_tensor


def _one(change: Callable[[Tensor], Tensor]) -> Operation:
    return lambda _, x: change(as_tensor(x))


def _two(change: Callable[[Any, Any], Any]) -> Operation:
    return lambda _, a, b: change(as_operand(a, b), as_operand(b, a))


def _many(change: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return lambda _, *parts: functools.reduce(change, [as_tensor(part) for part in parts])


def _divide(_: Node, a: Value, b: Value) -> Any:
    left, right = as_operand(a, b), as_operand(b, a)
    sides = (left, right)
    fractions = [side.is_floating_point() if isinstance(side, Tensor) else type(side) is float for side in sides]
    return left / right if any(fractions) else torch.div(left, right, rounding_mode="trunc")


def _clip(node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Tensor:
    bounds = [node.get(name) if bound is None else node.host(bound)[0] for name, bound in (("min", low), ("max", high))]
    images = as_tensor(x)
    if bounds == [0, 6]:
        return functional.relu6(images)
    return images if bounds == [None, None] else images.clamp(*bounds)


def _dropout(node: Node, x: Value, _: Value | None = None, training: Value | None = None) -> Tensor:
    if training is not None and any(node.host(training)):
        raise node.unknown("training mode; export the network after model.eval()")
    return as_tensor(x)


def _softmax(change: Callable[[Tensor, int], Tensor]) -> Operation:
    def run(node: Node, x: Value) -> Tensor:
        images = as_tensor(x)
        if node.opset >= 13:
            return change(images, node.get("axis", -1))
        # Before opset 13 the axes from `axis` on counted as one.
        axis = node.get("axis", 1) % images.dim()
        return change(images.flatten(axis), axis).reshape(images.shape)

    return run


def _prelu(_: Node, x: Value, slope: Value) -> Tensor:
    images = as_tensor(x)
    return torch.where(images >= 0, images, images * as_tensor(slope))


POINTWISE: dict[str, Operation] = {
    "Abs": _one(torch.abs),
    "Add": _two(lambda a, b: a + b),
    "And": _two(torch.logical_and),
    "Celu": lambda node, x: functional.celu(as_tensor(x), node.get("alpha", 1.0)),
    "Clip": _clip,
    "Cos": _one(torch.cos),
    "Div": _divide,
    "Dropout": _dropout,
    "Elu": lambda node, x: functional.elu(as_tensor(x), node.get("alpha", 1.0)),
    "Equal": _two(lambda a, b: a == b),
    "Erf": _one(torch.erf),
    "Exp": _one(torch.exp),
    "Gelu": lambda node, x: functional.gelu(as_tensor(x), approximate=node.get("approximate", "none")),
    "Greater": _two(lambda a, b: a > b),
    "GreaterOrEqual": _two(lambda a, b: a >= b),
    "HardSigmoid": lambda node, x: (as_tensor(x) * node.get("alpha", 0.2) + node.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _one(functional.hardswish),
    "LeakyRelu": lambda node, x: functional.leaky_relu(as_tensor(x), node.get("alpha", 0.01)),
    "Less": _two(lambda a, b: a < b),
    "LessOrEqual": _two(lambda a, b: a <= b),
    "Log": _one(torch.log),
    "LogSoftmax": _softmax(torch.log_softmax),
    "Max": _many(torch.maximum),
    "Mean": lambda _, *parts: sum(as_tensor(part) for part in parts) / len(parts),
    "Min": _many(torch.minimum),
    "Mish": _one(functional.mish),
    "Mul": _two(lambda a, b: a * b),
    "Neg": _one(torch.neg),
    "Not": _one(torch.logical_not),
    "Or": _two(torch.logical_or),
    "Pow": _two(lambda a, b: a**b),
    "PRelu": _prelu,
    "Reciprocal": _one(torch.reciprocal),
    "Relu": _one(functional.relu),
    "Selu": lambda node, x: (
        node.get("gamma", 1.0507009873554805) * functional.elu(as_tensor(x), node.get("alpha", 1.6732632423543772))
    ),
    "Sigmoid": _one(torch.sigmoid),
    "Sin": _one(torch.sin),
    "Softmax": _softmax(torch.softmax),
    "Softplus": _one(functional.softplus),
    "Softsign": _one(functional.softsign),
    "Sqrt": _one(torch.sqrt),
    "Sub": _two(lambda a, b: a - b),
    "Sum": _many(torch.add),
    "Swish": lambda node, x: as_tensor(x) * torch.sigmoid(node.get("alpha", 1.0) * as_tensor(x)),
    "Tanh": _one(torch.tanh),
    "Where": lambda _, truth, a, b: torch.where(as_tensor(truth), as_tensor(a), as_tensor(b)),
}
