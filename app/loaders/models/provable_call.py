"""One operation of a network's graph, as the way to a provable program meets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from app.audits.pixels import NotProvable
from app.numerics.bounds.program import KNOWN_LAYERS, Builder

_WORDS = {
    "gelu": "GELU", "silu": "SiLU", "sigmoid": "sigmoid", "tanh": "tanh", "elu": "ELU", "hardtanh": "ReLU6 or hardtanh",
    "hardswish": "hardswish", "hardsigmoid": "hardsigmoid", "leaky_relu": "leaky ReLU", "clamp": "clamp",
    "softmax": "softmax", "_softmax": "softmax", "log_softmax": "log-softmax", "_log_softmax": "log-softmax",
    "native_layer_norm": "LayerNorm", "layer_norm": "LayerNorm", "native_group_norm": "GroupNorm",
    "group_norm": "GroupNorm", "scaled_dot_product_attention": "attention", "matmul": "a product of two activations",
    "bmm": "a product of two activations", "mm": "a product of two activations",
    "mul": "a product of two activations", "div": "a quotient of two activations", "log": "logarithm (probabilities)",
    "exp": "exponential", "pow": "power", "conv_transpose2d": "transposed convolution", "convolution": "convolution",
    "conv1d": "one-dimensional convolution", "conv3d": "three-dimensional convolution", "bernoulli": "random numbers",
    "_to_copy": "cast", "to": "cast", "cat": "joining", "constant_pad_nd": "padding", "pad": "padding",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One operation of a graph with its values on some images."""

    builder: Builder
    places: Mapping[fx.Node, int]
    node: fx.Node
    value: Any
    """What it gives on these images."""
    arguments: Sequence[Any]
    named: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The operation's name without its overload, such as conv2d."""
        target = self.node.target
        if isinstance(target, torch._ops.OpOverload):
            return target._schema.name.split("::")[1]
        return getattr(target, "__name__", str(target))

    @property
    def shape(self) -> tuple[int, ...]:
        """The output's shape without the batch."""
        return tuple(self.value.shape[1:])

    def place(self, name: str) -> int:
        """Where the activation stands that is the argument of this name.

        Raises:
            NotProvable: the argument is a constant.
        """
        source = self._bound(self.node.args, self.node.kwargs)[name]
        if not isinstance(source, fx.Node) or source not in self.places:
            raise unknown(self)
        return self.places[source]

    def is_constant(self, name: str) -> bool:
        """Whether the argument hangs on no image."""
        source = self._bound(self.node.args, self.node.kwargs)[name]
        return not (isinstance(source, fx.Node) and source in self.places)

    def constant(self, name: str) -> Any:
        """An argument's value.

        Raises:
            NotProvable: it is an activation.
        """
        if not self.is_constant(name):
            raise unknown(self)
        return self.values()[name]

    def again(self) -> tuple[Callable[..., Tensor], list[int]]:
        """The operation as a function of its activations alone, and their places."""
        flat, form = pytree.tree_flatten((tuple(self.node.args), dict(self.node.kwargs)))
        values, _ = pytree.tree_flatten((tuple(self.arguments), dict(self.named)))
        mine = [i for i, part in enumerate(flat) if isinstance(part, fx.Node) and part in self.places]
        target: Callable[..., Tensor] = self.node.target  # type: ignore[assignment]

        def run(*tensors: Tensor) -> Tensor:
            filled = list(values)
            for i, tensor in zip(mine, tensors, strict=True):
                filled[i] = tensor
            arguments, named = pytree.tree_unflatten(filled, form)
            return target(*arguments, **named)

        for i in mine:
            values[i] = None
        return run, [self.places[flat[i]] for i in mine]

    def values(self) -> dict[str, Any]:
        """All arguments by name, defaults filled in."""
        return self._bound(self.arguments, self.named)

    def _bound(self, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        schema = self.node.target._schema.arguments  # type: ignore[union-attr]
        found = {each.name: each.default_value for each in schema}
        found.update(zip((each.name for each in schema), arguments, strict=False))
        return {**found, **named}


def unknown(call: Call, why: str = "") -> NotProvable:
    """The error of a layer that proofs cannot pass."""
    where = [path for path, _ in (call.node.meta.get("nn_module_stack") or {}).values() if path]
    word = _WORDS.get(call.name, call.name.strip("_").replace("_", " "))
    layer = f"{word}{f' (“{_plain(where[-1])}”)' if where else ''}{f', {why}' if why else ''}"
    return NotProvable(f"Proofs cannot pass the layer {layer}. They know {KNOWN_LAYERS}.", word)


def _plain(path: str) -> str:
    return path.removeprefix("L['self'].")
