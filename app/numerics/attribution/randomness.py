"""Random signs from a counter: the same for a key on every device, in any order and at any batch size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def signs(shape: tuple[int, ...], source: np.random.Philox) -> Tensor:
    """Random ±1, float32 of `shape`, on the CPU; 64 signs from each word of the stream."""
    count = int(np.prod(shape, dtype=np.int64))
    bits = np.unpackbits(source.random_raw(-(-count // 64)).astype("<u8").view(np.uint8), count=count)
    return torch.from_numpy(bits.astype(np.float32)).mul_(2).sub_(1).reshape(shape)


def buckets(count: int, size: int, source: np.random.Philox) -> Tensor:
    """Uniform int64 [count] in [0, size), on the CPU."""
    words = source.random_raw(count).astype(np.uint64)
    return torch.from_numpy((words % np.uint64(size)).astype(np.int64))
