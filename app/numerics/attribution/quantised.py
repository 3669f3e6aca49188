"""Feature rows as signed bytes with one scale a row: a quarter of the space, attribution scores unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LEVELS = 127


class QuantisedRows(NamedTuple):
    """`codes` int8 [n, k] and `scales` float32 [n]; row i stands for scales[i] · codes[i]."""

    codes: Tensor
    scales: Tensor

    def rows(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows [start, stop) as float32."""
        return self.codes[start:stop].float() * self.scales[start:stop, None]

    def take(self, places: NDArray[np.int64]) -> QuantisedRows:
        """Return the rows at these places, int64 [m]."""
        return QuantisedRows(self.codes[places], self.scales[places])

    def blocks(self) -> Iterator[Tensor]:
        """Yield all rows as float32, some at a time; fewer rows than features come at once."""
        size = max(self.codes.shape[1], _ROWS)
        for start in range(0, len(self.codes), size):
            yield self.rows(start, start + size)

    def dot(self, queries: Tensor) -> Tensor:
        """Inner products float32 [n, m] with queries float32 [m, k].

        Rows become floats a block at a time, so that a block stays in the processor's cache: the codes, which may be
        memory-mapped, are read once and no float copy of all rows is made.
        """
        size = max(_BLOCK // self.codes.shape[1], 1)
        block = queries.new_empty(min(size, len(self.codes)), self.codes.shape[1])
        found = queries.new_empty(len(self.codes), len(queries))
        for start in range(0, len(self.codes), size):
            part = self.codes[start : start + size]
            torch.mm(block[: len(part)].copy_(part), queries.T, out=found[start : start + size])
        return found.mul_(self.scales[:, None])


_BLOCK = 2**20
"""Numbers in a block of `dot`, 4 MiB."""
_ROWS = 4096


def quantise(rows: Tensor) -> QuantisedRows:
    """Round each row to 255 even levels between −max |x| and max |x|.

    Args:
        rows: float [n, k], finite.

    Raises:
        ValueError: a number is not finite.
    """
    if not torch.isfinite(rows).all():
        raise ValueError("Features must be finite.")
    scales = rows.abs().amax(dim=1).float() / _LEVELS
    codes = (rows / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round_()
    return QuantisedRows(codes.to(torch.int8), scales)
