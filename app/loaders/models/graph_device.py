"""Moves a graph to a device: its weights, and the constants and places that tracing wrote into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree


def moved(graph: fx.GraphModule, device: torch.device) -> fx.GraphModule:
    """Return the graph, on the device; a network that made tensors on the processor makes them there."""

    def there(argument: Any) -> Any:
        return device if isinstance(argument, torch.device) else argument

    for node in graph.graph.nodes:
        if node.op == "call_function":
            node.args, node.kwargs = pytree.tree_map(there, (node.args, node.kwargs))
        if node.op == "get_attr":
            _move_constant(graph, str(node.target), device)
    graph.recompile()
    return graph.to(device)


def _move_constant(graph: fx.GraphModule, target: str, device: torch.device) -> None:
    """Constants are plain attributes, which `Module.to` leaves where they are."""
    path, _, name = target.rpartition(".")
    owner = graph.get_submodule(path)
    found = vars(owner).get(name)
    if isinstance(found, Tensor):
        setattr(owner, name, found.to(device))
