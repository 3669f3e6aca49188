"""Operations that are not linear: ReLU and max pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.bounds.ops import Op


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """max(x, 0)."""

    def apply(self, *inputs: Tensor) -> Tensor:
        """Return the output, [n, …]."""
        return inputs[0].clamp_min(0)


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """The largest value of each window; what padding adds is never the largest."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    ceil: bool = False

    def apply(self, *inputs: Tensor) -> Tensor:
        """Return the output, [n, …]."""
        return functional.max_pool2d(inputs[0], self.kernel, self.stride, self.padding, self.dilation, self.ceil)

    def windows(self, x: Tensor) -> Tensor:
        """What each output is the largest of, [n, channels, K, outputs]; −∞ outside the input."""
        out = self.apply(x[:1]).shape[2:]
        pads: list[int] = []
        for axis in (1, 0):
            needed = (out[axis] - 1) * self.stride[axis] + self.dilation[axis] * (self.kernel[axis] - 1) + 1
            pads += [self.padding[axis], max(needed - x.shape[2 + axis] - self.padding[axis], 0)]
        wide = functional.pad(x, pads, value=-math.inf)[..., : _end(self, out, 0), : _end(self, out, 1)]
        found = functional.unfold(wide, self.kernel, self.dilation, 0, self.stride)
        return found.view(len(x), x.shape[1], -1, out[0] * out[1])

    def places(self, shape: tuple[int, ...]) -> Tensor:
        """Flat places in an input of this shape of what `windows` gives, int64 [channels, K, outputs]; −1 outside."""
        own = torch.arange(math.prod(shape), dtype=torch.float64).view(1, *shape)
        return self.windows(own)[0].clamp_min(-1).long()


def _end(op: MaxPool, out: torch.Size, axis: int) -> int:
    return (out[axis] - 1) * op.stride[axis] + op.dilation[axis] * (op.kernel[axis] - 1) + 1
