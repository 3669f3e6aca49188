"""What all methods need to know of a shard; in the sandboxed child."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.patches.budgets import EFFORTS, Effort
from app.audits.patches.schema import GRID, Params, side, unfit
from app.audits.pixels import PixelShard
from app.errors import UserError

BATCH = 64
_FILLS = {"grey": (128, 128, 128), "black": (0, 0, 0)}


@dataclass(frozen=True)
class Plan:
    """Settings for pictures of one size."""

    params: Params
    classify: Callable[[Tensor], Tensor]
    """torch uint8 [b, 3, h, w] → logits float32 [b, C] on the CPU."""
    module: Callable[[], tuple[Any, Callable[[Any], Any]]] | None
    """See `PixelShard`."""
    fill: Tensor
    """uint8 [3]."""
    height: int
    width: int
    patches: tuple[int, ...]
    """Side of each of the parameters' sizes, in pixels."""

    @classmethod
    def of(cls, shard: PixelShard, params: Params, pictures: Tensor) -> Plan:
        """Settings for pictures [b, 3, h, w].

        Raises:
            UserError: a patch or a band does not fit into them.
        """
        height, width = (int(length) for length in pictures.shape[2:])
        if why := unfit(params, height, width):
            raise UserError(" ".join(why.values()))
        fill = torch.tensor(_FILLS.get(params.fill, shard.mean), dtype=torch.uint8)
        patches = tuple(side(text, height, width) for text in params.sizes)
        return cls(params, shard.classify, shard.module, fill, height, width, patches)

    @property
    def effort(self) -> Effort:
        """Settings of the budget."""
        return EFFORTS[self.params.budget]

    def corners(self, patch: int) -> tuple[Tensor, Tensor]:
        """First rows and first columns, int64 [12] each, of the places that a map shows for a patch."""
        return _even(self.height - patch), _even(self.width - patch)


@dataclass(frozen=True)
class Outcome:
    """What a method finds for b pictures at each size."""

    defended: NDArray[np.int32]
    """[b, sizes], classes."""
    certified: NDArray[np.bool_]
    """[b, sizes]: the label is predicted whatever a patch shows."""
    maps: NDArray[np.int16]
    """[watched, sizes, 12, 12]; see `measure`."""
    vote: NDArray[np.float32]
    """[b]: share of the bands that vote for the label; NaN where nothing votes."""
    asked: int
    """Images that the network was shown."""


def _even(last: int) -> Tensor:
    return torch.linspace(0, last, GRID, dtype=torch.float64).round().long()
