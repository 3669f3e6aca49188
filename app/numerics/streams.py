"""Streams of random numbers that belong to a key: the same on every device, in any order and at any batch size."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *key: int | str) -> np.random.Philox:
    """A Philox stream that belongs to a seed and a key (for example checkpoint and layer)."""
    words = [seed, *(zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key)]
    return np.random.Philox(np.random.SeedSequence(words))
