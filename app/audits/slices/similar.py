"""How alike rows are to a direction: all rows in one product each, ranked as if each were scored in full."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from app.audits.slices.rows import BLOCK, Bools, Floats, Ints, Rows
from app.numerics.bounded_ranking import Bounds, cosine_bounds, largest, raw_weight, share_members
from app.numerics.embedding import Standardiser
from app.numerics.ranking import rank_scores

LENGTHS = "lengths"
_AT_ONCE = 8_192
_DENSE = 4
"""Rows this close together are read as one piece, with those between them."""


@dataclass(frozen=True)
class Similarity:
    """Cosines of some rows with one direction; indices count through `positions`."""

    rows: Rows
    positions: Ints
    direction: Tensor
    bounds: Bounds

    def exact(self, indices: Ints) -> Floats:
        """Score rows in full, block by block: float32 [m]."""
        blocks = (self.positions[indices[i : i + BLOCK]] for i in range(0, len(indices), BLOCK))
        parts = [rank_scores(self.rows.features(block), self.direction).cpu().numpy() for block in blocks]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def closest(self, count: int, among: Bools | None = None) -> tuple[Ints, Floats]:
        """Return the most alike rows (of those `among`): positions and cosines, the most alike first."""
        chosen = np.arange(len(self.positions)) if among is None else np.flatnonzero(among)
        bounds = Bounds(self.bounds.low[chosen], self.bounds.high[chosen])
        indices, scores = largest(bounds, count, lambda some: self.exact(chosen[some]))
        return self.positions[chosen[indices]], scores

    def members(self, share: float) -> Bools:
        """Return which rows are the given share of them that is most alike."""
        return share_members(self.bounds, share, self.exact)


def similarity(rows: Rows, folder: Path, positions: Ints, direction: Tensor) -> Similarity:
    """Compare rows with a direction in standardised space; `folder` is the artifact of the stage `slices`."""
    weight = raw_weight(direction.cpu().float().numpy(), rows.mean.numpy(), rows.std.numpy())
    products = _products(rows.embeddings, positions, weight.values)
    return Similarity(rows, positions, direction, cosine_bounds(products, _lengths(rows, folder)[positions], weight))


def row_lengths(rows: Rows) -> Floats:
    """Length of every standardised row, float32 [n]: what a raw product lacks to be a cosine."""
    standardise = Standardiser(rows.mean, rows.std).apply
    lengths = np.zeros(len(rows.labels), np.float32)
    for start in range(0, len(lengths), BLOCK):
        block = torch.from_numpy(np.array(rows.embeddings[start : start + BLOCK], dtype=np.float32))
        lengths[start : start + BLOCK] = standardise(block).norm(dim=1).numpy()
    return lengths


def _lengths(rows: Rows, folder: Path) -> Floats:
    path = folder / f"{LENGTHS}.npy"
    found: Floats = np.load(path, mmap_mode="r") if path.is_file() else row_lengths(rows)
    return found


def _products(embeddings: np.ndarray, positions: Ints, weight: Floats) -> Floats:
    """Products of rows with a weight, float32 [m], read where they lie, by all cores."""
    if not len(positions):
        return np.zeros(0, np.float32)
    first, last = int(positions[0]), int(positions[-1]) + 1
    if (last - first) < _DENSE * len(positions):
        whole = _in_threads(
            embeddings, (slice(i, min(i + _AT_ONCE, last)) for i in range(first, last, _AT_ONCE)), weight
        )
        return whole[positions - first]
    return _in_threads(embeddings, (positions[i : i + _AT_ONCE] for i in range(0, len(positions), _AT_ONCE)), weight)


def _in_threads(embeddings: np.ndarray, pieces: Iterable[slice | Ints], weight: Floats) -> Floats:
    def product(piece: slice | Ints) -> Floats:
        return np.asarray(np.asarray(embeddings[piece], dtype=np.float32) @ weight)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="similar") as pool:
        return np.concatenate(list(pool.map(product, pieces)))
