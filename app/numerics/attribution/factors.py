"""What is known of a place where a weight acts, and what was seen there."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from torch import Tensor

Kind = Literal["linear", "convolution", "embedding", "formed"]


class CannotTap(ValueError):
    """A network in which no weight can be followed; the message says why and what would help."""


class Tap(NamedTuple):
    """A place where a weight acts.

    `shape`, linear: [out, in]; convolution: [out, in / groups, height, width]; embedding: [rows, width]; formed:
    [numbers], weight and bias together. `swapped`: a transposed convolution, whose weight's gradient is that of a
    convolution in which input and gradient change places.
    """

    node: str
    weight: str
    bias: str | None
    shape: tuple[int, ...]
    kind: Kind = "linear"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    swapped: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of an example's gradient, the bias as the last column; a formed one is a single row."""
        if self.kind == "formed":
            return 1, self.shape[0]
        return self.shape[0], math.prod(self.shape[1:]) + (self.bias is not None)


class Factors(NamedTuple):
    """What a tap saw: `inputs` a and `gradients` g of its output.

    linear: [n, T, in] and [n, T, out]; convolution: [n, in, h, w] and [n, out, h', w'] (places changed where swapped);
    embedding: int64 [n, T] and [n, T, width]; formed: [n, 0] and the per-example gradients themselves, [n, numbers].
    """

    inputs: Tensor
    gradients: Tensor
