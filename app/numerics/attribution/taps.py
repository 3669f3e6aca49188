"""Factor taps: the input and the output gradient of each weight, from one forward and one backward pass.

A per-example weight gradient is Σ_t g_t a_tᵀ over positions t; it is never formed here, but for weights that have a
few numbers a channel, and for those that act in operations that taps do not know: these are differentiated one example
at a time. The network is an operation graph of functional ATen operations (what `torch.export` makes), whatever it was
written as.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from app.numerics.attribution.factors import CannotTap, Factors, Tap
from app.numerics.attribution.formed import formed_gradient
from app.numerics.attribution.layouts import Inputs, Layout, Recorder, as_tuple, independent, layouts, rows
from app.numerics.attribution.recognise import acting, operations, recognise, refuse_training_mode
from app.numerics.attribution.untapped import affordable, untapped_gradients

_RESULT = ""


class TappedNetwork:
    """A frozen operation graph whose weights are tapped.

    Args:
        graph: functional ATen graph with one input [n, …] or several; its parameters are frozen in place.
        example: an input [1, …], a tuple where there are several; with copies of it the network's layout is probed:
            where among the rows of a tapped input the examples lie. A weight at which examples mix is not tapped.

    `taps` names what is followed; a tap without a node is a weight that is differentiated one example at a time.
    `untapped` names the parameters that are not followed, and `unknown` the operations in which those act: none, unless
    examples mix in the network or these weights are too large (`app.numerics.attribution.untapped.LARGEST`).

    Raises:
        CannotTap: no weight can be followed, or the graph is in training mode, where examples depend on one another.
        FloatingPointError: an output is not finite at the example.
    """

    def __init__(self, graph: fx.GraphModule, example: Inputs) -> None:
        refuse_training_mode(graph)
        self._graph = graph
        graph.requires_grad_(False)
        found = recognise(graph)
        self._layouts = layouts(graph, found, as_tuple(example))
        mixed = {tap.weight for tap in found if tap.node not in self._layouts}
        taps = [tap for tap in found if tap.weight not in mixed]
        self._nodes = {node.name: node for node in graph.graph.nodes}
        self._sizes = {name: graph.get_parameter(name).numel() for name in acting(graph)}
        left = _left(self._sizes, taps)
        self._formed = affordable(graph, left) if left and independent(graph, as_tuple(example)) else []
        taps += [Tap("", name, None, (self._sizes[name],), "formed") for name in self._formed]
        self.taps, self.untapped = tuple(taps), tuple(_left(self._sizes, taps))
        self.unknown = tuple(sorted({name for left in self.untapped for name in operations(graph, left)}))
        if not self.taps:
            raise CannotTap(
                f"No weight of this network can be followed; they act in {', '.join(self.unknown) or 'no operation'}. "
                "Linear, convolution, embedding and normalisation layers can, where examples do not mix."
            )

    @property
    def tapped_share(self) -> float:
        """Share of the parameters that act in the network (numbers, not tensors) that taps cover."""
        left = sum(self._sizes[name] for name in self.untapped)
        return 1 - left / max(sum(self._sizes.values()), 1)

    def factors(self, inputs: Inputs, output: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[Factors]]:
        """Run the network forward and back.

        Args:
            inputs: [n, …], a tuple where there are several.
            output: network output → float [n]; value i depends on example i only.

        Returns:
            The network's output, detached, and the factors of each tap in the order of `taps`.

        Raises:
            FloatingPointError: a gradient is not finite.
        """
        names = list(dict.fromkeys(tap.node for tap in self.taps if tap.node))
        with torch.enable_grad():
            run = Recorder(self._graph, set(names))
            result = run.run(*as_tuple(inputs))
            result = result[0] if isinstance(result, (tuple, list)) else result
            if not result.requires_grad:
                result.requires_grad_()
            outputs = [*(run.seen[name][1] for name in names), result]
            found = torch.autograd.grad(output(result).sum(), outputs, allow_unused=True)
        slopes = {
            name: torch.zeros_like(out) if slope is None else slope
            for name, out, slope in zip([*names, _RESULT], outputs, found, strict=True)
        }
        formed = untapped_gradients(self._graph, self._formed, as_tuple(inputs), slopes[_RESULT])
        _check_finite(self.taps, slopes | formed)
        n = len(as_tuple(inputs)[0])
        pairs = [
            self._pair(tap, run.seen[tap.node][0], slopes[tap.node], n)
            if tap.node
            else Factors(slopes[_RESULT].new_zeros(n, 0), formed[tap.weight])
            for tap in self.taps
        ]
        return result.detach(), pairs

    def _pair(self, tap: Tap, args: tuple[Any, ...], slope: Tensor, n: int) -> Factors:
        layout: Layout = self._layouts[tap.node]
        if tap.kind == "formed":
            formed = formed_gradient(self._graph, self._nodes[tap.node], args, slope, layout, n)
            return Factors(formed.new_zeros(n, 0), formed)
        if tap.kind == "embedding":
            return Factors(rows(layout, args[1][..., None], n)[..., 0], rows(layout, slope, n))
        if tap.kind == "linear":
            return Factors(rows(layout, args[0], n), rows(layout, slope, n))
        sides = [side if side.dim() == 4 else side.unsqueeze(2) for side in (args[0], slope)]
        return Factors(*(sides[::-1] if tap.swapped else sides))


def _left(sizes: Iterable[str], taps: Sequence[Tap]) -> list[str]:
    tapped = {name for tap in taps for name in (tap.weight, tap.bias)}
    return [name for name in sizes if name not in tapped]


def _check_finite(taps: Sequence[Tap], slopes: dict[str, Tensor]) -> None:
    for tap in taps:
        if not torch.isfinite(slopes[tap.node or tap.weight]).all():
            raise FloatingPointError(f"The gradient at “{tap.weight}” is not finite.")
