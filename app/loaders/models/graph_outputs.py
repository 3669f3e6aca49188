"""A graph that returns the logits alone, whatever its network returns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from app.loaders.models.outputs import find_scores
from app.loaders.models.spec import ModelSpec

_ATEN = torch.ops.aten
_SOFTMAX = (_ATEN.softmax.int, _ATEN._softmax.default)


def only_logits(graph: fx.GraphModule, raw: Any, spec: ModelSpec, rows: int) -> fx.GraphModule:
    """Make the class scores the graph's one output, as logits.

    Where the network gives probabilities, a softmax at its end is taken off; without one the logarithm is taken.

    Args:
        raw: what the graph returns for `rows` images.

    Raises:
        BadOutput: no scores among what the network returns, or several.
    """
    _, scores = find_scores(raw, rows, len(spec.classes) or None)
    output = graph.graph.output_node()
    leaves, nodes = pytree.tree_leaves(raw), pytree.tree_leaves(output.args[0])
    node, leaf = next(pair for pair in zip(nodes, leaves, strict=True) if _same(pair[1], scores))
    with graph.graph.inserting_before(output):
        if leaf.dim() > 2:
            node = graph.graph.call_function(_ATEN.flatten.using_ints, (node, 1))
        if spec.outputs == "probabilities":
            node = _logits(graph, node)
    output.args = (node,)
    graph.graph.set_codegen(fx.graph.CodeGen())
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _same(leaf: Any, scores: Tensor) -> bool:
    return isinstance(leaf, Tensor) and leaf.data_ptr() == scores.data_ptr() and leaf.numel() == scores.numel()


def _logits(graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    if node.target in _SOFTMAX and node.args[1] in {1, -1}:
        before = node.args[0]
        assert isinstance(before, fx.Node)
        return before
    least = torch.finfo(torch.float32).tiny
    bounded = graph.graph.call_function(_ATEN.clamp_min.default, (node, least))
    return graph.graph.call_function(_ATEN.log.default, (bounded,))
