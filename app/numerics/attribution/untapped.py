"""Per-example gradients of weights that no tap knows, by differentiating the network one example at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx
from torch.func import functional_call, grad, vmap

LARGEST = 2**21
"""Numbers an example that are formed at most, of all such weights together."""
_AT_ONCE = 2**26


def affordable(graph: fx.GraphModule, names: Sequence[str]) -> list[str]:
    """The weights, small ones first, whose gradients together fit into `LARGEST`; in the given order."""
    left, chosen = LARGEST, set()
    for name in sorted(names, key=lambda name: graph.get_parameter(name).numel()):
        left -= graph.get_parameter(name).numel()
        if left >= 0:
            chosen.add(name)
    return [name for name in names if name in chosen]


def untapped_gradients(
    graph: fx.GraphModule, names: Sequence[str], inputs: tuple[Tensor, ...], slope: Tensor
) -> dict[str, Tensor]:
    """Gradients of each weight, [n, numbers], in slices of the batch that are bounded in memory.

    Args:
        inputs: [n, …] each.
        slope: [n, …], the gradient of what is attributed by the network's (first) output; row i belongs to example i.
    """
    if not names:
        return {}
    own = {name: graph.get_parameter(name).detach() for name in names}

    def attributed(weights: dict[str, Tensor], row: Tensor, *example: Tensor) -> Tensor:
        result = functional_call(graph, weights, tuple(side[None] for side in example))
        result = result[0] if isinstance(result, (tuple, list)) else result
        summed: Tensor = (result * row[None]).sum()
        return summed

    sides = (slope.detach(), *inputs)
    with torch.enable_grad(), warnings.catch_warnings():
        # Operations that vmap runs one example at a time are slow, and right.
        warnings.simplefilter("ignore")
        found = _mapped(grad(attributed), own, sides)
    return {name: found[name].flatten(1) for name in names}


def _mapped(
    slopes: Callable[..., dict[str, Tensor]], own: dict[str, Tensor], sides: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    numbers = sum(weight.numel() for weight in own.values())
    size = max(_AT_ONCE // numbers, 1)
    try:
        found: dict[str, Tensor] = vmap(slopes, (None, *[0] * len(sides)), chunk_size=size)(own, *sides)
    except RuntimeError:
        # An operation without a rule for vmap, or one that reads a value.
        rows = [slopes(own, *(side[i] for side in sides)) for i in range(len(sides[0]))]
        return {name: torch.stack([row[name] for row in rows]) for name in own}
    return found
