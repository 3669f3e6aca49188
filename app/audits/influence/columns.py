"""The audited images that each training image helps and hurts most, kept over blocks of targets."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ColumnEnds:
    """Running highest and lowest `count` scores of `rows` training rows; work memory is rows × (block + count)."""

    def __init__(self, rows: int, count: int) -> None:
        self._count = count
        self._values = [torch.full((rows, 0), 0.0) for _ in range(2)]
        self._places = [torch.zeros(rows, 0, dtype=torch.int64) for _ in range(2)]

    def add(self, scores: Tensor, places: NDArray[np.int64]) -> None:
        """Take in the scores float [rows, b] of the targets at `places`."""
        named = torch.from_numpy(places)
        for side in range(2):
            found = scores.topk(min(self._count, scores.shape[1]), dim=1, largest=side == 0)
            values = torch.cat([self._values[side], found.values], dim=1)
            merged = values.topk(min(self._count, values.shape[1]), dim=1, largest=side == 0)
            self._places[side] = torch.cat([self._places[side], named[found.indices]], dim=1).gather(1, merged.indices)
            self._values[side] = merged.values

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Places int32 and scores float32, [rows, 2·count], most helped first, most hurt last."""
        places = torch.cat([self._places[0], self._places[1].flip(1)], dim=1)
        values = torch.cat([self._values[0], self._values[1].flip(1)], dim=1)
        return places.int().numpy(), values.float().numpy()
