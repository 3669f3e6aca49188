"""The random numbers of an attack, each example's from its own stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from app.numerics.streams import stream


class Draws:
    """Random numbers for some examples; an example's depend on seed, name, part and its key alone.

    They are drawn on the CPU, so that every device sees the same.
    """

    def __init__(self, seed: int, name: str, part: int, keys: Tensor) -> None:
        self._sources = [np.random.Generator(stream(seed, name, part, int(key))) for key in keys.tolist()]

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, shaped and placed as `like` [n, …]."""
        return self._stack([source.standard_normal(like.shape[1:], np.float32) for source in self._sources], like)

    def spread(self, like: Tensor) -> Tensor:
        """Uniform numbers in [−1, 1), shaped and placed as `like` [n, …]."""
        return 2 * self._stack([source.random(like.shape[1:], np.float32) for source in self._sources], like) - 1

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), float32 [n, *shape], on the CPU."""
        found = [source.random(shape, np.float32) for source in self._sources]
        return torch.from_numpy(np.stack(found)) if found else torch.zeros(0, *shape)

    def take(self, rows: Tensor) -> None:
        """Go on with some of the examples; `rows` is a mask."""
        self._sources = [source for source, kept in zip(self._sources, rows.tolist(), strict=True) if kept]

    def _stack(self, parts: Sequence[np.ndarray], like: Tensor) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(like) if parts else like.clone()
