"""Per-example gradients of weights with a few numbers a channel: normalisations, biases, bare parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

from app.numerics.attribution.layouts import Layout, flat_features, rows
from app.numerics.attribution.recognise import ELEMENTWISE, NORMS, parameter_place

_ATEN = torch.ops.aten


def formed_gradient(
    graph: fx.GraphModule, node: fx.Node, args: Sequence[Any], gradient: Tensor, layout: Layout, n: int
) -> Tensor:
    """The gradient of a node's weight (and bias after it), [n, numbers].

    Args:
        args: the node's arguments; `gradient`: that of its output.
    """
    if node.target in NORMS:
        return _norm(node, args, gradient, layout, n)
    if node.target in ELEMENTWISE:
        return _elementwise(node, args, gradient, parameter_place(graph, node), n)
    linear = node.target is _ATEN.linear.default
    return rows(layout, gradient, n).sum(dim=1) if linear else _by_channel(gradient)


def _norm(node: fx.Node, args: Sequence[Any], gradient: Tensor, layout: Layout, n: int) -> Tensor:
    """γ has the gradient Σ g · x̂ over positions, β has Σ g."""
    plain: Callable[[Sequence[Any]], Tensor] = _PLAIN[node.target]
    scale = gradient * plain(args)
    if node.target in (_ATEN.layer_norm.default, _ATEN.rms_norm.default):
        parts = [rows(layout, flat_features(side, args[1]), n).sum(dim=1) for side in (scale, gradient)]
    else:
        parts = [_by_channel(side) for side in (scale, gradient)]
    place = NORMS[node.target]  # type: ignore[index]
    biased = node.target is not _ATEN.rms_norm.default and len(args) > place + 1 and args[place + 1] is not None
    return torch.cat(parts, dim=1) if biased else parts[0]


_PLAIN: dict[Any, Callable[[Sequence[Any]], Tensor]] = {
    _ATEN.batch_norm.default: lambda a: functional.batch_norm(a[0], a[3], a[4], eps=a[7]),
    _ATEN._native_batch_norm_legit_no_training.default: lambda a: functional.batch_norm(a[0], a[3], a[4], eps=a[6]),
    _ATEN.instance_norm.default: lambda a: functional.instance_norm(a[0], a[3], a[4], None, None, a[5], a[6], a[7]),
    _ATEN.group_norm.default: lambda a: functional.group_norm(a[0], a[1], eps=a[4] if len(a) > 4 else 1e-5),
    _ATEN.layer_norm.default: lambda a: functional.layer_norm(a[0], a[1], eps=a[4] if len(a) > 4 else 1e-5),
    _ATEN.rms_norm.default: lambda a: functional.rms_norm(a[0], a[1], eps=a[3] if len(a) > 3 else None),
}
"""The normalisation x̂ without its weight."""


def _elementwise(node: fx.Node, args: Sequence[Any], gradient: Tensor, place: int, n: int) -> Tensor:
    if node.target is _ATEN.mul.Tensor:
        gradient = gradient * args[1 - place]
    if node.target is _ATEN.sub.Tensor and place == 1:
        gradient = -gradient
    shape = args[place].shape
    lead = gradient.dim() - len(shape)
    spread = [a for a in range(1, gradient.dim()) if a < lead or (shape[a - lead] == 1 and gradient.shape[a] > 1)]
    return (gradient.sum(dim=spread) if spread else gradient).reshape(n, -1)


def _by_channel(side: Tensor) -> Tensor:
    return side.reshape(*side.shape[:2], -1).sum(dim=2)
