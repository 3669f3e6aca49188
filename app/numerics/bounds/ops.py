"""Operations of a network that are linear, or linear and a constant, with what a proof needs to know of each.

An operation works on batches: activations are [n, …], and shapes leave the batch out. `linear` is without the constant,
`magnitude` is `linear` with every coefficient's absolute value, and `adjoint` its transpose on rows [n, …output] of
coefficients. `roundings` counts the roundings on the longest way through one output's sum (0: values are only moved).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input

Shape = tuple[int, ...]
Function = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Op:
    """One operation on activations [n, …]."""

    def apply(self, *inputs: Tensor) -> Tensor:
        """Return the output, [n, …]."""
        raise NotImplementedError

    def to(self, like: Tensor) -> Self:
        """Return the operation with tensors of the same dtype and device as `like`."""
        own = {part.name: getattr(self, part.name) for part in fields(self)}
        moved: dict[str, Any] = {name: value.to(like) for name, value in own.items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True, eq=False)
class LinearOp(Op):
    """Linear in its inputs, or linear and a constant."""

    @property
    def roundings(self) -> int:
        """Roundings on the longest way through one output's sum."""
        return 0

    @property
    def offset(self) -> Tensor | None:
        """The constant, broadcastable to the output; none where it is zero."""
        return None

    @property
    def offset_size(self) -> Tensor | None:
        """Sum of the magnitudes of what the constant is made of."""
        return None

    def linear(self, *inputs: Tensor) -> Tensor:
        """The output without the constant."""
        raise NotImplementedError

    def magnitude(self, *inputs: Tensor) -> Tensor:
        """`linear` with the absolute values of its coefficients."""
        return self.linear(*inputs)

    def apply(self, *inputs: Tensor) -> Tensor:
        """Return the output, [n, …]."""
        out = self.linear(*inputs)
        return out if self.offset is None else out + self.offset

    def adjoint(self, rows: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        """Coefficients [n, …output] of the output → of each input, [n, …input]."""
        inputs = [rows.new_zeros(len(rows), *shape).requires_grad_(True) for shape in shapes]
        with torch.enable_grad():
            out = self.linear(*inputs)
        return torch.autograd.grad(out, inputs, rows)

    def pick(self, places: Tensor, shape: Shape, out: Shape) -> Tensor | None:
        """Coefficients [m, …input] of the outputs at flat places int64 [m]; none where there is no short cut."""
        return None


@dataclass(frozen=True, eq=False)
class Rearrange(LinearOp):
    """Moves values: reshaping, slicing, padding with zeros, permuting, joining; each output is one input or zero."""

    move: Function

    def linear(self, *inputs: Tensor) -> Tensor:
        """The same values elsewhere."""
        return self.move(*inputs)


@dataclass(frozen=True, eq=False)
class Average(LinearOp):
    """Means of up to `count` values; coefficients are not negative."""

    mean: Function
    count: int

    @property
    def roundings(self) -> int:
        """One for each addition, one for the division."""
        return self.count + 1

    def linear(self, *inputs: Tensor) -> Tensor:
        """The means."""
        return self.mean(*inputs)


@dataclass(frozen=True, eq=False)
class Add(LinearOp):
    """The sum of inputs of one shape, each with the sign +1 or −1."""

    signs: tuple[int, ...] = (1, 1)

    @property
    def roundings(self) -> int:
        """One for each addition."""
        return len(self.signs)

    def linear(self, *inputs: Tensor) -> Tensor:
        """The signed sum."""
        return _total([value if sign > 0 else -value for sign, value in zip(self.signs, inputs, strict=True)])

    def magnitude(self, *inputs: Tensor) -> Tensor:
        """The sum without signs."""
        return _total(inputs)

    def adjoint(self, rows: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        """The coefficients themselves, signed."""
        return tuple(rows if sign > 0 else -rows for sign in self.signs)


def _total(values: Sequence[Tensor]) -> Tensor:
    out = values[0]
    for value in values[1:]:
        out = out + value
    return out


@dataclass(frozen=True, eq=False)
class Affine(LinearOp):
    """Each value times `scale` and plus `shift`: normalisation, batch normalisation, products with constants."""

    scale: Tensor
    """Broadcastable to the shape without the batch."""
    shift: Tensor
    size: Tensor
    """Sum of the magnitudes of what `shift` is made of."""

    @property
    def roundings(self) -> int:
        """Scale and shift may themselves be made of a root, a quotient and two products."""
        return 8

    @property
    def offset(self) -> Tensor:
        """The shift."""
        return self.shift

    @property
    def offset_size(self) -> Tensor:
        """Its size."""
        return self.size

    def linear(self, *inputs: Tensor) -> Tensor:
        """Times the scale."""
        return inputs[0] * self.scale

    def magnitude(self, *inputs: Tensor) -> Tensor:
        """Times the scale's absolute value."""
        return inputs[0] * self.scale.abs()

    def adjoint(self, rows: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        """Times the scale."""
        return (rows * self.scale,)


@dataclass(frozen=True, eq=False)
class Linear(LinearOp):
    """A matrix on the last axis, and a bias."""

    weight: Tensor
    """[out, in]."""
    bias: Tensor
    """[out]."""
    size: Tensor
    """[out], sum of the magnitudes of what the bias is made of."""
    extra: int = 2
    """Roundings beside those of the products."""

    @property
    def roundings(self) -> int:
        """One for each product and its addition."""
        return self.weight.shape[1] + self.extra

    @property
    def offset(self) -> Tensor:
        """The bias."""
        return self.bias

    @property
    def offset_size(self) -> Tensor:
        """Its size."""
        return self.size

    def linear(self, *inputs: Tensor) -> Tensor:
        """Without the bias."""
        return functional.linear(inputs[0], self.weight)

    def magnitude(self, *inputs: Tensor) -> Tensor:
        """With the weights' absolute values."""
        return functional.linear(inputs[0], self.weight.abs())

    def adjoint(self, rows: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        """Times the matrix."""
        return (rows @ self.weight,)

    def pick(self, places: Tensor, shape: Shape, out: Shape) -> Tensor | None:
        """Rows of the matrix."""
        return self.weight[places] if len(out) == 1 else None


@dataclass(frozen=True, eq=False)
class Conv(LinearOp):
    """A two-dimensional convolution with zero padding."""

    weight: Tensor
    """[out, in / groups, height, width]."""
    bias: Tensor
    """[out]."""
    size: Tensor
    """[out], sum of the magnitudes of what the bias is made of."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    extra: int = 2

    @property
    def roundings(self) -> int:
        """One for each product and its addition."""
        return self.weight[0].numel() + self.extra

    @property
    def offset(self) -> Tensor:
        """The bias, [out, 1, 1]."""
        return self.bias[:, None, None]

    @property
    def offset_size(self) -> Tensor:
        """Its size."""
        return self.size[:, None, None]

    @property
    def _how(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]:
        return self.stride, self.padding, self.dilation, self.groups

    def linear(self, *inputs: Tensor) -> Tensor:
        """Without the bias."""
        return functional.conv2d(inputs[0], self.weight, None, *self._how)

    def magnitude(self, *inputs: Tensor) -> Tensor:
        """With the weights' absolute values."""
        return functional.conv2d(inputs[0], self.weight.abs(), None, *self._how)

    def adjoint(self, rows: Tensor, shapes: Sequence[Shape]) -> tuple[Tensor, ...]:
        """The transposed convolution."""
        found: Tensor = conv2d_input((len(rows), *shapes[0]), self.weight, rows, *self._how)  # type: ignore[no-untyped-call]
        return (found,)

    def pick(self, places: Tensor, shape: Shape, out: Shape) -> Tensor:
        """Kernels, each where its output looks."""
        channel, y, x = torch.unravel_index(places, out)
        depth, height, width = self.weight.shape[1:]
        down = self._reach(y, 0, height)[:, None, :, None]
        right = self._reach(x, 1, width)[:, None, None, :]
        first = channel // (out[0] // self.groups) * depth
        deep = (first[:, None] + torch.arange(depth, device=places.device))[:, :, None, None]
        inside = (down >= 0) & (down < shape[1]) & (right >= 0) & (right < shape[2])
        flat = ((deep * shape[1] + down) * shape[2] + right).where(inside, 0)
        values = self.weight[channel] * inside
        found = values.new_zeros(len(places), shape[0] * shape[1] * shape[2])
        return found.scatter_add_(1, flat.flatten(1), values.flatten(1)).view(-1, *shape)

    def _reach(self, place: Tensor, axis: int, length: int) -> Tensor:
        steps = torch.arange(length, device=place.device) * self.dilation[axis]
        return place[:, None] * self.stride[axis] - self.padding[axis] + steps
