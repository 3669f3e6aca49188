"""Factor taps: the input and the output gradient of each weight, from one forward and one backward pass.

A per-example weight gradient is Σ_t g_t a_tᵀ over positions t; it is never formed here. The network is an operation
graph of functional ATen operations (what `torch.export` makes), whatever it was written as.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, fx

Layout = Literal["first", "second", "outer", "inner"]
"""Where the examples lie among the rows of a tapped input: its first or second axis, or merged with the positions into
one axis, example by example (outer) or position by position (inner)."""
_ATEN = torch.ops.aten
_LINEAR, _CONV2D = _ATEN.linear.default, _ATEN.conv2d.default


class Tap(NamedTuple):
    """A place where a weight acts."""

    node: str
    weight: str
    bias: str | None
    shape: tuple[int, ...]
    """[out, in] of a linear weight; [out, in / groups, height, width] of a convolution."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def convolution(self) -> bool:
        """Whether the weight is a convolution's."""
        return len(self.shape) == 4


class Factors(NamedTuple):
    """What a tap saw: `inputs` a and `gradients` g of its output.

    Linear: [n, T, in] and [n, T, out]; convolution: [n, in, h, w] and [n, out, h', w'].
    """

    inputs: Tensor
    gradients: Tensor


class TappedNetwork:
    """A frozen operation graph whose linear and convolution weights are tapped.

    Args:
        graph: functional ATen graph with one tensor input [n, …]; its parameters are frozen in place.
        example: an input [1, …]; with copies of it the network's layout is probed: where among the rows of a
            tapped input the examples lie. A weight at which examples mix is not tapped.

    `taps` names what is tapped, `untapped` the parameters that act elsewhere (normalisation layers, embeddings).
    """

    def __init__(self, graph: fx.GraphModule, example: Tensor) -> None:
        self._graph = graph
        graph.requires_grad_(False)
        found = [tap for node in graph.graph.nodes if (tap := _tap(graph, node)) is not None]
        layouts = _layouts(graph, found, example)
        mixed = {tap.weight for tap in found if tap.node not in layouts}
        self.taps = tuple(tap for tap in found if tap.weight not in mixed)
        self._layouts = [layouts[tap.node] for tap in self.taps]
        tapped = {name for tap in self.taps for name in (tap.weight, tap.bias)}
        self.untapped = tuple(name for name, _ in graph.named_parameters() if name not in tapped)

    @property
    def tapped_share(self) -> float:
        """Share of the network's parameters (numbers, not tensors) that taps cover."""
        sizes = {name: parameter.numel() for name, parameter in self._graph.named_parameters()}
        left = sum(sizes[name] for name in self.untapped)
        return 1 - left / max(sum(sizes.values()), 1)

    def factors(self, inputs: Tensor, output: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[Factors]]:
        """Run the network forward and back.

        Args:
            inputs: float [n, …].
            output: network output → float [n]; value i depends on example i only.

        Returns:
            The network's output, detached, and the factors of each tap in the order of `taps`.

        Raises:
            FloatingPointError: a gradient is not finite.
        """
        with torch.enable_grad():
            run = _Recorder(self._graph, {tap.node for tap in self.taps})
            result = run.run(inputs)
            result = result[0] if isinstance(result, (tuple, list)) else result
            seen = [run.seen[tap.node] for tap in self.taps]
            value = output(result).sum()
            gradients = torch.autograd.grad(value, [out for _, out in seen], allow_unused=True)
        pairs = [
            _by_example(layout, tap.convolution, (a, torch.zeros_like(out) if g is None else g), len(inputs))
            for tap, layout, (a, out), g in zip(self.taps, self._layouts, seen, gradients, strict=True)
        ]
        _check_finite(self.taps, pairs)
        return result.detach(), pairs


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps input and output of the tapped nodes."""

    def __init__(self, graph: fx.GraphModule, tapped: set[str]) -> None:
        super().__init__(graph)
        self._tapped = tapped
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self._tapped:
            args, _ = self.fetch_args_kwargs_from_env(n)
            if not result.requires_grad:
                result.requires_grad_()
            self.seen[n.name] = (args[0].detach(), result)
        return result


def _tap(graph: fx.GraphModule, node: fx.Node) -> Tap | None:
    if node.op != "call_function" or node.target not in (_LINEAR, _CONV2D):
        return None
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return None
    name, shape = str(weight.target), tuple(_attribute(graph, str(weight.target)).shape)
    bias_name = str(bias.target) if isinstance(bias, fx.Node) and bias.op == "get_attr" else None
    if node.target is _LINEAR:
        return Tap(node.name, name, bias_name, shape)
    rest = [*node.args[3:], *[[1, 1], [0, 0], [1, 1], 1][len(node.args[3:]) :]]
    stride, padding, dilation = (_pair(value) for value in rest[:3])
    return Tap(node.name, name, bias_name, shape, stride, padding, dilation, int(rest[3]))  # type: ignore[call-overload]


def _attribute(graph: fx.GraphModule, name: str) -> Tensor:
    found: Any = graph
    for part in name.split("."):
        found = getattr(found, part)
    assert isinstance(found, Tensor)
    return found


def _pair(value: Any) -> tuple[int, int]:
    items: Sequence[int] = value if isinstance(value, (tuple, list)) else [value]
    return int(items[0]), int(items[-1])


def _layouts(graph: fx.GraphModule, taps: Sequence[Tap], example: Tensor) -> dict[str, Layout]:
    """Perturb one example of three, and see which rows of each tapped input change."""
    noise = torch.Generator().manual_seed(0)
    base = example.expand(3, *example.shape[1:]).clone()
    changed = base.clone()
    changed[1] += torch.randn(example.shape[1:], generator=noise).to(example)
    runs = []
    for inputs in (base, changed):
        run = _Recorder(graph, {tap.node for tap in taps})
        with torch.enable_grad():
            run.run(inputs)
        runs.append(run.seen)
    found = {tap.node: _layout(tap, *(run[tap.node][0] for run in runs)) for tap in taps}
    return {node: layout for node, layout in found.items() if layout is not None}


def _layout(tap: Tap, before: Tensor, after: Tensor) -> Layout | None:
    if tap.convolution:
        moved = (before != after).flatten(1).any(dim=1)
        return "first" if moved.tolist() == [False, True, False] else None
    moved = (before != after).any(dim=-1)
    for axis, size in enumerate(moved.shape):
        rows = moved.movedim(axis, 0).flatten(1).any(dim=1) if moved.dim() > 1 else moved
        if size == 3 and rows.tolist() == [False, True, False]:
            return "first" if axis == 0 else "second" if axis == 1 and moved.dim() == 2 else None
    if moved.dim() > 1 or not moved.any() or len(moved) % 3:
        return None
    if not moved.reshape(3, -1)[[0, 2]].any():
        return "outer"
    return "inner" if not moved.reshape(-1, 3)[:, [0, 2]].any() else None


def _by_example(layout: Layout, convolution: bool, pair: tuple[Tensor, Tensor], n: int) -> Factors:
    """Bring examples to the front: [n, positions, side]; feature maps stay as they are."""
    return Factors(*pair) if convolution else Factors(*(_rows(layout, side, n) for side in pair))


def _rows(layout: Layout, side: Tensor, n: int) -> Tensor:
    width = side.shape[-1]
    if layout == "second":
        return side.transpose(0, 1)
    if layout == "inner":
        return side.reshape(-1, n, width).transpose(0, 1)
    return side.reshape(n, -1, width)


def _check_finite(taps: Sequence[Tap], pairs: Sequence[Factors]) -> None:
    for tap, pair in zip(taps, pairs, strict=True):
        if not torch.isfinite(pair.gradients).all():
            raise FloatingPointError(f"The gradient at “{tap.weight}” is not finite.")
