"""Which nodes of an operation graph are places where a weight acts in a way that factor taps know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from app.numerics.attribution.factors import CannotTap, Tap

_ATEN = torch.ops.aten
_CONVOLUTIONS = (_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv1d.padding, _ATEN.conv2d.padding)
_PRODUCTS = (_ATEN.matmul.default, _ATEN.mm.default)
_TRANSPOSED = (_ATEN.conv_transpose1d.default, _ATEN.conv_transpose2d.input)
NORMS = {
    _ATEN.batch_norm.default: 1,
    _ATEN._native_batch_norm_legit_no_training.default: 1,
    _ATEN.instance_norm.default: 1,
    _ATEN.group_norm.default: 2,
    _ATEN.layer_norm.default: 2,
    _ATEN.rms_norm.default: 2,
}
"""Normalisations and the place of the weight among their arguments."""
ELEMENTWISE = (_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.mul.Tensor, _ATEN.expand.default)
"""Operations through which a bare parameter (position embedding, class token, layer scale) meets the data."""
_RESHAPES = (_ATEN.view.default, _ATEN.reshape.default, _ATEN.unsqueeze.default, _ATEN.permute.default)


def recognise(graph: fx.GraphModule) -> list[Tap]:
    """All places that are known, in the order of the graph; a transposed convolution's bias is a place of its own."""
    found: list[Tap] = []
    ways: dict[str, set[tuple[bool, bool]]] = {}
    uses: dict[str, set[tuple[str, str | None]]] = {}
    for node in graph.graph.nodes:
        for tap in _taps(graph, node) if node.op == "call_function" else []:
            found.append(tap)
            uses.setdefault(tap.weight, set()).add((tap.kind, tap.bias))
            # What is added up over uses has to be one kind of array, and to lie one way.
            ways.setdefault(tap.weight, set()).add((tap.kind == "formed", _lies_down(node)))
    found = [tap for tap in found if len(ways[tap.weight]) == 1]
    return [part for tap in found for part in (_apart(graph, tap) if len(uses[tap.weight]) > 1 else [tap])]


def _apart(graph: fx.GraphModule, tap: Tap) -> list[Tap]:
    """A weight that several layers share, each with a bias of its own: weight and bias become two places."""
    if tap.bias is None or tap.kind == "formed":
        return [tap]
    return [tap._replace(bias=None), Tap(tap.node, tap.bias, None, _shape(graph, tap.bias), "formed")]


def refuse_training_mode(graph: fx.GraphModule) -> None:
    """Raise CannotTap where batch statistics, dropout or other chance is at work: no example has its own gradient."""
    for node in graph.graph.nodes:
        what = _at_work(node) if isinstance(node.target, torch._ops.OpOverload) else ""
        if what in {"dropout", "batch normalisation"}:
            raise CannotTap(
                f"“{node.name}” is {what} in training mode, where an example's gradient is not its own. "
                "Call model.eval() before torch.export, and upload that."
            )
        if what:
            raise CannotTap(
                f"“{node.name}” draws random numbers in the forward pass, so that an example has no one gradient. "
                "Upload a network that gives the same output each time."
            )


def _at_work(node: fx.Node) -> str:
    """What makes an example's output depend on others or on chance; empty where nothing does."""
    name, target = str(node.target), node.target
    if "batch_norm" in name:
        return "batch normalisation" if len(node.args) > 5 and node.args[5] is True else ""
    if "scaled_dot_product" in name:
        return "dropout" if _argument(node, 4) or node.kwargs.get("dropout_p") else ""
    if "dropout" in name:
        return "dropout" if node.args[-1] is True else ""
    assert isinstance(target, torch._ops.OpOverload)
    return "chance" if torch.Tag.nondeterministic_seeded in target.tags else ""


def operations(graph: fx.GraphModule, parameter: str) -> set[str]:
    """Names of the operations in which a parameter is used."""
    nodes = [node for node in graph.graph.nodes if _parameter(graph, node) == parameter]
    return {str(user.target) for node in nodes for user in node.users}


def acting(graph: fx.GraphModule) -> list[str]:
    """Names of the parameters that some operation uses, a tied one by its first name."""
    used = {_parameter(graph, node) for node in graph.graph.nodes if node.users}
    return [name for name, _ in graph.named_parameters() if name in used]


def _taps(graph: fx.GraphModule, node: fx.Node) -> list[Tap]:
    if node.target is _ATEN.linear.default:
        return _linear(graph, node)
    if node.target in _PRODUCTS:
        return _product(graph, node)
    if node.target in _CONVOLUTIONS:
        return _convolution(graph, node)
    if node.target in _TRANSPOSED:
        return _transposed(graph, node)
    if node.target is _ATEN.embedding.default:
        name = _parameter(graph, node.args[0])
        return [Tap(node.name, name, None, _shape(graph, name), "embedding")] if name else []
    if node.target in NORMS:
        return _norm(graph, node)
    return _elementwise(graph, node) if node.target in ELEMENTWISE and not node.kwargs else []


def _linear(graph: fx.GraphModule, node: fx.Node) -> list[Tap]:
    name = _parameter(graph, node.args[1])
    bias = _parameter(graph, _argument(node, 2))
    return [Tap(node.name, name, bias, _shape(graph, name))] if name else []


def _product(graph: fx.GraphModule, node: fx.Node) -> list[Tap]:
    turned = _turned(node.args[1])
    name = _parameter(graph, node.args[1] if turned is None else turned)
    shape = _shape(graph, name) if name else ()
    if name is None or len(shape) != 2:
        return []
    return [Tap(node.name, name, None, shape if turned is not None else shape[::-1])]


def _lies_down(node: fx.Node) -> bool:
    """Whether a weight's columns are the outputs, as in x @ W."""
    return node.target in _PRODUCTS and _turned(node.args[1]) is None


def _turned(argument: Any) -> Any:
    """What a matrix is the transpose of; none where it is no transpose."""
    if not isinstance(argument, fx.Node):
        return None
    if argument.target is _ATEN.t.default:
        return argument.args[0]
    if argument.target not in (_ATEN.permute.default, _ATEN.transpose.int):
        return None
    axes = [axis % 2 for axis in pytree.tree_leaves(argument.args[1:])]
    return argument.args[0] if axes == [1, 0] or (axes == [0, 1] and argument.target is _ATEN.transpose.int) else None


def _convolution(graph: fx.GraphModule, node: fx.Node) -> list[Tap]:
    name = _parameter(graph, node.args[1])
    if not name:
        return []
    shape = _shape(graph, name)
    stride, padding, dilation, groups = _given(node, 3, (1, 0, 1, 1))
    dilation = _pair(dilation, shape)
    padded = _padding(padding, shape, dilation)
    if padded is None:
        return []
    bias = _parameter(graph, _argument(node, 2))
    return [
        Tap(node.name, name, bias, _flat(shape), "convolution", _pair(stride, shape), padded, dilation, int(groups))
    ]


def _transposed(graph: fx.GraphModule, node: fx.Node) -> list[Tap]:
    name, bias = _parameter(graph, node.args[1]), _parameter(graph, _argument(node, 2))
    if not name:
        return []
    shape = _shape(graph, name)
    stride, padding, _, groups, dilation = _given(node, 3, (1, 0, 0, 1, 1))
    steps = (_pair(stride, shape), _pair(padding, shape, 0), _pair(dilation, shape))
    weight = Tap(node.name, name, None, _flat(shape), "convolution", *steps, int(groups), swapped=True)
    return [weight, *([Tap(node.name, bias, None, _shape(graph, bias), "formed")] if bias else [])]


def _norm(graph: fx.GraphModule, node: fx.Node) -> list[Tap]:
    place = NORMS[node.target]  # type: ignore[index]
    name = _parameter(graph, _argument(node, place))
    if not name:
        return []
    bias = None if node.target is _ATEN.rms_norm.default else _parameter(graph, _argument(node, place + 1))
    return [Tap(node.name, name, bias, (math.prod(_shape(graph, name)) * (1 + (bias is not None)),), "formed")]


def _elementwise(graph: fx.GraphModule, node: fx.Node) -> list[Tap]:
    names = [_through_reshapes(graph, argument) for argument in node.args[:2]]
    known = [name for name in names if name]
    return [Tap(node.name, known[0], None, (math.prod(_shape(graph, known[0])),), "formed")] if len(known) == 1 else []


def parameter_place(graph: fx.GraphModule, node: fx.Node) -> int:
    """Which argument of an elementwise operation is the parameter."""
    return 0 if _through_reshapes(graph, node.args[0]) else 1


def _through_reshapes(graph: fx.GraphModule, argument: Any) -> str | None:
    while isinstance(argument, fx.Node) and argument.target in _RESHAPES:
        argument = argument.args[0]
    return _parameter(graph, argument)


def _parameter(graph: fx.GraphModule, argument: Any) -> str | None:
    if not isinstance(argument, fx.Node) or argument.op != "get_attr":
        return None
    found = _attribute(graph, str(argument.target))
    # A tied weight has several names; the first one stands for it.
    return next((name for name, parameter in graph.named_parameters() if parameter is found), None)


def _argument(node: fx.Node, place: int) -> Any:
    return node.args[place] if len(node.args) > place else None


def _given(node: fx.Node, first: int, defaults: tuple[Any, ...]) -> list[Any]:
    given = list(node.args[first:])
    return [*given, *defaults[len(given) :]]


def _attribute(graph: fx.GraphModule, name: str) -> Tensor:
    found: Any = graph
    for part in name.split("."):
        found = getattr(found, part)
    assert isinstance(found, Tensor)
    return found


def _shape(graph: fx.GraphModule, name: str) -> tuple[int, ...]:
    return tuple(_attribute(graph, name).shape)


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A one-dimensional filter is a two-dimensional one of height 1."""
    return shape if len(shape) == 4 else (*shape[:2], 1, shape[2])


def _pair(value: Any, shape: tuple[int, ...], flat: int = 1) -> tuple[int, int]:
    items: Sequence[int] = value if isinstance(value, (tuple, list)) else [value]
    return (int(items[0]), int(items[-1])) if len(shape) == 4 else (flat, int(items[0]))


def _padding(value: Any, shape: tuple[int, ...], dilation: tuple[int, int]) -> tuple[int, int] | None:
    """Padding in numbers; None where “same” needs more on one side."""
    if not isinstance(value, str):
        return _pair(value, shape, 0)
    if value == "valid":
        return 0, 0
    whole = [step * (size - 1) for step, size in zip(dilation, _flat(shape)[2:], strict=True)]
    return (whole[0] // 2, whole[1] // 2) if not any(size % 2 for size in whole) else None
