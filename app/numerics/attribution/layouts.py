"""Where among the rows of a tapped input the examples lie, found by moving one example of three."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, fx

from app.numerics.attribution.factors import Tap

Layout = Literal["first", "second", "outer", "inner"]
"""Their first or second axis, or merged with positions (or windows) into the first axis, example by example (outer) or
position by position (inner)."""
Inputs = Tensor | tuple[Tensor, ...]
"""What a network takes: [n, …], or several of them."""
_ATEN = torch.ops.aten
_TRAILING = (_ATEN.layer_norm.default, _ATEN.rms_norm.default)
_BY_ROWS = (_ATEN.linear.default, _ATEN.matmul.default, _ATEN.mm.default, _ATEN.embedding.default, *_TRAILING)
_ONE_OF_THREE = [False, True, False]


class Recorder(fx.Interpreter):
    """Runs a graph; `seen` has arguments (detached) and output of the tapped nodes."""

    def __init__(self, graph: fx.GraphModule, tapped: set[str]) -> None:
        super().__init__(graph)
        self._tapped = tapped
        self.seen: dict[str, tuple[tuple[Any, ...], Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node; a tapped one's output takes part in differentiation."""
        result = super().run_node(n)
        if n.name in self._tapped:
            args, _ = self.fetch_args_kwargs_from_env(n)
            # Batch normalisation gives its statistics beside its output.
            output = result[0] if isinstance(result, tuple) else result
            if not output.requires_grad:
                output.requires_grad_()
            self.seen[n.name] = tuple(a.detach() if isinstance(a, Tensor) else a for a in args), output
        return result


def as_tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    """One input as a tuple of one."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def layouts(graph: fx.GraphModule, taps: Sequence[Tap], example: tuple[Tensor, ...]) -> dict[str, Layout]:
    """The layout at each tapped node; a node where examples mix is left out.

    Raises:
        FloatingPointError: an output is not finite, so that nothing can be told.
    """
    nodes = {node.name: node for node in graph.graph.nodes if node.name in {tap.node for tap in taps}}
    base = tuple(one.expand(3, *one.shape[1:]).clone() for one in example)
    before, after = (_run(graph, set(nodes), inputs) for inputs in (base, _moved(base)))
    _require_finite(before)
    moved = {name: _sides(node, before[name]) != _sides(node, after[name]) for name, node in nodes.items()}
    # Where the image has no part (a class token), the gradient tells whose row is whose.
    moved |= {name: slope != 0 for name, slope in _slopes(graph, _still(moved), base).items()}
    found = {
        name: _by_rows(moved[name]) if node.target in _BY_ROWS else _first(moved[name]) for name, node in nodes.items()
    }
    return {name: layout for name, layout in found.items() if layout is not None}


def independent(graph: fx.GraphModule, example: tuple[Tensor, ...]) -> bool:
    """Whether an example's output stays the same when another example is changed."""
    base = tuple(one.expand(3, *one.shape[1:]).clone() for one in example)
    with torch.no_grad():
        before, after = (graph(*inputs) for inputs in (base, _moved(base)))
    before, after = (side[0] if isinstance(side, (tuple, list)) else side for side in (before, after))
    return len(before) == 3 and bool((before[[0, 2]] == after[[0, 2]]).all())


def _still(moved: dict[str, Tensor]) -> set[str]:
    return {name for name, changed in moved.items() if not changed.any()}


def rows(layout: Layout, side: Tensor, n: int) -> Tensor:
    """Bring examples to the front: [n, positions, width]."""
    width = side.shape[-1]
    if layout == "second":
        return side.transpose(0, 1)
    if layout == "inner":
        return side.reshape(len(side) // n, n, -1, width).transpose(0, 1).reshape(n, -1, width)
    return side.reshape(n, -1, width)


def _run(
    graph: fx.GraphModule, nodes: set[str], inputs: tuple[Tensor, ...]
) -> dict[str, tuple[tuple[Any, ...], Tensor]]:
    run = Recorder(graph, nodes)
    with torch.enable_grad():
        run.run(*inputs)
    return run.seen


def _require_finite(seen: dict[str, tuple[tuple[Any, ...], Tensor]]) -> None:
    for name, (_, output) in seen.items():
        if not torch.isfinite(output).all():
            raise FloatingPointError(f"The output of “{name}” is not finite.")


def _moved(base: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Change the second of three examples; tokens become neighbouring tokens."""
    return tuple(_moved_one(side) for side in base)


def _moved_one(base: Tensor) -> Tensor:
    changed = base.clone()
    if base.is_floating_point():
        noise = torch.randn(base.shape[1:], generator=torch.Generator().manual_seed(0))
        changed[1] += noise.to(base)
    else:
        changed[1] = torch.where(base[1] > 0, base[1] - 1, base[1] + 1)
    return changed


def _slopes(graph: fx.GraphModule, nodes: set[str], base: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Gradient of the second example's output at nodes that do not depend on the input (an expanded parameter)."""
    if not nodes:
        return {}
    run = Recorder(graph, nodes)
    with torch.enable_grad():
        result = run.run(*_moved(base))
        result = result[0] if isinstance(result, (tuple, list)) else result
        noise = torch.randn(result.shape[1:], generator=torch.Generator().manual_seed(1)).to(result)
        outputs = [run.seen[name][1] for name in nodes]
        slopes = torch.autograd.grad((result[1] * noise).sum(), outputs, allow_unused=True)
    return {n: torch.zeros_like(o) if s is None else s for n, o, s in zip(nodes, outputs, slopes, strict=True)}


def _sides(node: fx.Node, seen: tuple[tuple[Any, ...], Tensor]) -> Tensor:
    """What shows whose row is whose: of layers that act on rows the input, its features as the last axis."""
    args, output = seen
    if node.target not in _BY_ROWS:
        return output
    if node.target is _ATEN.embedding.default:
        indices: Tensor = args[1]
        return indices[..., None]
    side: Tensor = args[0]
    return flat_features(side, args[1]) if node.target in _TRAILING else side


def flat_features(side: Tensor, shape: Sequence[int]) -> Tensor:
    """Merge the trailing axes that a layer normalisation works on."""
    return side.reshape(*side.shape[: side.dim() - len(shape)], math.prod(shape))


def _first(moved: Tensor) -> Layout | None:
    same = len(moved) == 3 and moved.flatten(1).any(dim=1).tolist() == _ONE_OF_THREE if moved.dim() > 1 else False
    return "first" if same else None


def _by_rows(changed: Tensor) -> Layout | None:
    moved = changed.any(dim=-1)
    for axis, size in enumerate(moved.shape):
        some = moved.movedim(axis, 0).flatten(1).any(dim=1) if moved.dim() > 1 else moved
        if size == 3 and some.tolist() == _ONE_OF_THREE:
            return "first" if axis == 0 else "second" if axis == 1 and moved.dim() == 2 else None
    if not moved.any() or len(moved) % 3:
        return None
    if not moved.reshape(3, -1)[[0, 2]].any():
        return "outer"
    return "inner" if not moved.reshape(len(moved) // 3, 3, -1)[:, [0, 2]].any() else None
