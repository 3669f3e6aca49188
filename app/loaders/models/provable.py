"""A network, whatever it was written as, as a program that proofs can pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from app.audits.pixels import NotProvable
from app.loaders.models.provable_call import Call, unknown
from app.loaders.models.provable_layers import WRITERS
from app.loaders.models.spec import Preprocessing
from app.numerics.bounds.program import Builder, Program

Network = Callable[[Tensor], Tensor]
_ROWS = 3
_CLOSE = 1e-4


def network_program(graph: fx.GraphModule, steps: Preprocessing, forward: Network) -> Program:
    """Write a normalised graph, and the normalisation before it, as one program of pixels in [0, 1].

    Args:
        graph: as `app.loaders.models.graph.normalised_graph` returns it.
        steps: the preprocessing, of which scale, order of colours, mean and std become part of the program.
        forward: the network on pixels float32 [n, channels, height, width] in [0, 1], to compare with.

    Raises:
        NotProvable: a layer that proofs do not know, or a program that does not compute what the network does.
    """
    shape = (steps.channels, *steps.size)
    device = next((value.device for value in graph.state_dict().values()), torch.device("cpu"))
    builder = Builder(shape)
    writer = _Writer(graph, builder, _normalisation(builder, steps))
    try:
        with torch.no_grad():
            writer.run(torch.rand(_ROWS, *shape, generator=torch.Generator().manual_seed(0)).to(device))
        program = builder.program()
    except NotProvable as error:
        raise NotProvable(error.message, error.layer) from None  # without what the interpreter adds
    except ValueError as error:
        raise NotProvable(f"Proofs need a network with two logits or more: {error}.") from error
    _compare(program, shape, device, forward)
    return program


def _normalisation(builder: Builder, steps: Preprocessing) -> int:
    place = builder.image
    if steps.colour_order == "BGR" and steps.channels == 3:
        place = builder.rearrange(lambda x: x.flip(1), place)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (steps.mean, steps.std))
    if bool((mean == 0).all() & (std == steps.scale).all()):
        return place
    return builder.affine(place, steps.scale / std, -mean / std)


def _compare(program: Program, shape: tuple[int, ...], device: torch.device, forward: Network) -> None:
    """Say so where the program is not the network."""
    for count in (1, _ROWS + 1):
        images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(count)).to(device)
        with torch.no_grad():
            own, theirs = program.forward(images), forward(images)
        near = _CLOSE * (1 + float(theirs.abs().max()))
        if own.shape != theirs.shape or not torch.allclose(own, theirs, rtol=0, atol=near):
            raise NotProvable(
                "The network written as layers that proofs know does not give the network's own logits on random "
                "images, so nothing can be proven of it. Networks whose images influence one another, or that draw "
                "random numbers, cannot be passed."
            )


class _Writer(fx.Interpreter):
    """Runs the graph on some images, and writes down what it does with each."""

    def __init__(self, graph: fx.GraphModule, builder: Builder, start: int) -> None:
        super().__init__(graph)
        self._builder, self._start = builder, start
        self._places: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation and append it to the program where its inputs are activations."""
        value = super().run_node(n)
        if n.op == "placeholder":
            self._places[n] = self._start
        elif n.op == "call_function" and any(source in self._places for source in n.all_input_nodes):
            self._write(n, value)
        return value

    def _write(self, node: fx.Node, value: Any) -> None:
        if not isinstance(value, Tensor | tuple):
            return  # a size
        arguments, named = self.fetch_args_kwargs_from_env(node)
        call = Call(self._builder, self._places, node, value, arguments, named)
        writer = WRITERS.get(call.name)
        if writer is None:
            raise unknown(call)
        place = writer(call)
        first = value[0] if isinstance(value, tuple) else value
        if tuple(first.shape) != (_ROWS, *self._builder.shape(place)):
            raise unknown(call, "which mixes images or changes their number")
        self._places[node] = place
