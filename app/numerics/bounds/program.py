"""A network written as a few operations that proofs can pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from app.numerics.bounds.bends import MaxPool, Relu
from app.numerics.bounds.ops import Affine, Conv, Function, Linear, LinearOp, Op, Rearrange, Shape

KNOWN_LAYERS = (
    "Linear, Conv2d, BatchNorm, ReLU, sums (residual connections), average and max pooling, padding, slicing, "
    "joining, flatten and reshape"
)


@dataclass(frozen=True, eq=False)
class Step:
    """An operation and where its inputs come from."""

    op: Op
    inputs: tuple[int, ...]
    """Places of activations; 0 is the image, i + 1 the output of step i."""


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in order, from pixels in [0, 1] to logits; tensors in double precision."""

    steps: tuple[Step, ...]
    shapes: tuple[Shape, ...]
    """Shapes without the batch of the image and of each step's output."""
    _moved: dict[tuple[torch.dtype, torch.device], Program] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> int:
        """How many logits there are."""
        return self.shapes[-1][0]

    def forward(self, images: Tensor) -> Tensor:
        """Pixels [n, channels, height, width] in [0, 1] → logits [n, C], in the images' dtype."""
        own = self.to(images)
        values = [images]
        for step in own.steps:
            values.append(step.op.apply(*(values[place] for place in step.inputs)))
        return values[-1]

    def to(self, like: Tensor) -> Program:
        """Return the program with tensors of the same dtype and device as `like`."""
        key = (like.dtype, like.device)
        if key not in self._moved:
            steps = tuple(replace(step, op=step.op.to(like)) for step in self.steps)
            self._moved[key] = Program(steps, self.shapes)
        return self._moved[key]


class Builder:
    """Writes a program step by step; `image` is the place of the image, and each method returns a new place.

    Constants may be of any floating dtype; they are kept in double precision.
    """

    image = 0

    def __init__(self, shape: Shape) -> None:
        self._steps: list[Step] = []
        self._shapes: list[Shape] = [tuple(shape)]

    def shape(self, place: int) -> Shape:
        """Shape of an activation, without the batch."""
        return self._shapes[place]

    def add(self, op: Op, *inputs: int) -> int:
        """Append an operation."""
        op = op.to(torch.zeros(0, dtype=torch.float64))
        values = [torch.zeros(1, *self._shapes[place], dtype=torch.float64) for place in inputs]
        self._shapes.append(tuple(op.apply(*values).shape[1:]))
        self._steps.append(Step(op, inputs))
        return len(self._steps)

    def affine(self, x: int, scale: Tensor, shift: Tensor, size: Tensor | None = None) -> int:
        """`x · scale + shift`, both broadcastable to the shape of x."""
        return self.add(Affine(scale.double(), shift.double(), shift.double().abs() if size is None else size), x)

    def linear(self, x: int, weight: Tensor, bias: Tensor | None = None) -> int:
        """A matrix [out, in] on the last axis of x."""
        offset = _offset(weight, bias)
        return self.add(Linear(weight, offset, offset.abs()), x)

    def conv(
        self,
        x: int,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> int:
        """A convolution of x [channels, height, width]."""
        offset = _offset(weight, bias)
        return self.add(Conv(weight, offset, offset.abs(), stride, padding, dilation, groups), x)

    def relu(self, x: int) -> int:
        """max(x, 0)."""
        return self.add(Relu(), x)

    def rearrange(self, move: Function, *inputs: int) -> int:
        """Values elsewhere; `move` works on batches."""
        return self.add(Rearrange(move), *inputs)

    def max_pool(self, x: int, kernel: tuple[int, int], stride: tuple[int, int], *, ceil: bool = False) -> int:
        """The largest values of windows of x [channels, height, width]."""
        return self.add(MaxPool(kernel, stride, ceil=ceil), x)

    def program(self) -> Program:
        """Return what was written; the last step gives the logits.

        Raises:
            ValueError: the last step does not give at least two logits.
        """
        if len(self._shapes[-1]) != 1 or self._shapes[-1][0] < 2:
            raise ValueError(f"the last step must give two logits or more, not {self._shapes[-1]}")
        return Program(*_folded(self._steps, self._shapes))


def _offset(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_zeros(len(weight)) if bias is None else bias


def _folded(steps: list[Step], shapes: list[Shape]) -> tuple[tuple[Step, ...], tuple[Shape, ...]]:
    """Take what scales a layer's output channels (batch normalisation) into the layer before."""
    used = [0] * len(shapes)
    for step in steps:
        for place in step.inputs:
            used[place] += 1
    kept: list[Step] = []
    place_of, kept_shapes = {0: 0}, [shapes[0]]
    for number, step in enumerate(steps, 1):
        before = kept[place_of[step.inputs[0]] - 1] if kept and place_of[step.inputs[0]] else None
        folded = _fold(before.op, step.op, shapes[number]) if before and used[step.inputs[0]] == 1 else None
        if folded is not None and before is not None:
            place_of[number] = place_of[step.inputs[0]]
            kept[place_of[number] - 1] = replace(before, op=folded)
            continue
        kept.append(Step(step.op, tuple(place_of[place] for place in step.inputs)))
        kept_shapes.append(shapes[number])
        place_of[number] = len(kept)
    return tuple(kept), tuple(kept_shapes)


def _fold(layer: Op, after: Op, shape: Shape) -> Op | None:
    if not isinstance(layer, Conv | Linear) or not isinstance(after, Affine):
        return None
    values = [value.broadcast_to(shape).flatten(1 if isinstance(layer, Conv) else 0) for value in _parts(after)]
    if isinstance(layer, Conv):
        if any(bool((value != value[:, :1]).any()) for value in values):
            return None
        values = [value[:, 0] for value in values]
    elif len(shape) != 1:
        return None
    scale, shift, size = values
    weight = layer.weight * scale.view(-1, *(1 for _ in layer.weight.shape[1:]))
    extra, bias = layer.extra + after.roundings, layer.bias * scale + shift
    return replace(layer, weight=weight, bias=bias, size=layer.size * scale.abs() + size, extra=extra)


def _parts(op: Affine) -> tuple[Tensor, Tensor, Tensor]:
    return op.scale, op.shift, op.size


def mixing(op: Op) -> bool:
    """Whether an output hangs on several values of one input."""
    return isinstance(op, LinearOp) and op.roundings > 0 and not isinstance(op, Affine)
