"""Factor taps: the input and the output gradient of each weight, from one forward and one backward pass.

A per-example weight gradient is Σ_t g_t a_tᵀ over positions t; it is never formed here, but for weights that have a
few numbers a channel. The network is an operation graph of functional ATen operations (what `torch.export` makes),
whatever it was written as.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from app.numerics.attribution.factors import CannotTap, Factors, Tap
from app.numerics.attribution.formed import formed_gradient
from app.numerics.attribution.layouts import Inputs, Layout, Recorder, as_tuple, layouts, rows
from app.numerics.attribution.recognise import operations, recognise, refuse_training_mode


class TappedNetwork:
    """A frozen operation graph whose weights are tapped.

    Args:
        graph: functional ATen graph with one input [n, …] or several; its parameters are frozen in place.
        example: an input [1, …], a tuple where there are several; with copies of it the network's layout is probed:
            where among the rows of a tapped input the examples lie. A weight at which examples mix is not tapped.

    `taps` names what is tapped, `untapped` the parameters that are not, `unknown` the operations in which those act.

    Raises:
        CannotTap: no weight can be tapped, or the graph is in training mode, where examples depend on one another.
        FloatingPointError: an output is not finite at the example.
    """

    def __init__(self, graph: fx.GraphModule, example: Inputs) -> None:
        refuse_training_mode(graph)
        self._graph = graph
        graph.requires_grad_(False)
        found = recognise(graph)
        self._layouts = layouts(graph, found, as_tuple(example))
        mixed = {tap.weight for tap in found if tap.node not in self._layouts}
        self.taps = tuple(tap for tap in found if tap.weight not in mixed)
        self._nodes = {node.name: node for node in graph.graph.nodes}
        tapped = {name for tap in self.taps for name in (tap.weight, tap.bias)}
        self.untapped = tuple(name for name, _ in graph.named_parameters() if name not in tapped)
        self.unknown = tuple(sorted({name for left in self.untapped for name in operations(graph, left)}))
        if not self.taps:
            raise CannotTap(
                f"No weight of this network can be followed; they act in {', '.join(self.unknown) or 'no operation'}. "
                "Linear, convolution, embedding and normalisation layers can, where examples do not mix."
            )

    @property
    def tapped_share(self) -> float:
        """Share of the network's parameters (numbers, not tensors) that taps cover."""
        sizes = {name: parameter.numel() for name, parameter in self._graph.named_parameters()}
        left = sum(sizes[name] for name in self.untapped)
        return 1 - left / max(sum(sizes.values()), 1)

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
        names = list(dict.fromkeys(tap.node for tap in self.taps))
        with torch.enable_grad():
            run = Recorder(self._graph, set(names))
            result = run.run(*as_tuple(inputs))
            result = result[0] if isinstance(result, (tuple, list)) else result
            outputs = [run.seen[name][1] for name in names]
            found = torch.autograd.grad(output(result).sum(), outputs, allow_unused=True)
        slopes = {
            name: torch.zeros_like(out) if slope is None else slope
            for name, out, slope in zip(names, outputs, found, strict=True)
        }
        _check_finite(self.taps, slopes)
        pairs = [
            self._pair(tap, run.seen[tap.node][0], slopes[tap.node], len(as_tuple(inputs)[0])) for tap in self.taps
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


def _check_finite(taps: Sequence[Tap], slopes: dict[str, Tensor]) -> None:
    for tap in taps:
        if not torch.isfinite(slopes[tap.node]).all():
            raise FloatingPointError(f"The gradient at “{tap.weight}” is not finite.")
