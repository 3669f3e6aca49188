"""The random numbers of a batch, each row's from its own stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from app.numerics.streams import stream


class Draws:
    """Random numbers for the rows of a batch; a row's depend on seed, kind, severity and row alone.

    Each call returns fresh numbers as a tensor [n, *shape] on `device`; they are drawn on the CPU, so that every device
    sees the same.
    """

    def __init__(self, seed: int, kind: str, severity: int, rows: Sequence[int], device: torch.device) -> None:
        self._sources = [np.random.Generator(stream(seed, kind, severity, int(row))) for row in rows]
        self.device = device

    def __len__(self) -> int:
        return len(self._sources)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, float32."""
        return self._stack([source.standard_normal(shape, dtype=np.float32) for source in self._sources])

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32."""
        return self._stack([source.random(shape, dtype=np.float32) for source in self._sources])

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Uniform in [low, high), int32."""
        return self._stack([source.integers(low, high, shape, dtype=np.int32) for source in self._sources])

    def poisson(self, means: Tensor) -> Tensor:
        """Poisson counts for `means` float64 [n, …], int64."""
        pairs = zip(self._sources, means.cpu().numpy(), strict=True)
        return self._stack([source.poisson(mean) for source, mean in pairs])

    def _stack(self, parts: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(self.device)
