"""Rows of classes of different size as padded blocks of bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING_SHARE = 1.25
PADDING_ROWS = 8


@dataclass(frozen=True)
class Padded:
    """Indices `at` (int64 [G, n]) and which of them are real (`mask`, bool [G, n]; the real ones come first)."""

    at: Tensor
    mask: Tensor

    @classmethod
    def where(cls, keep: Tensor) -> "Padded":
        """Positions at which `keep` (bool [G, m]) holds, in order, padded to the longest."""
        longest = int(keep.sum(1).max())
        at = (~keep).to(torch.int8).argsort(dim=1, stable=True)[:, :longest]
        return cls(at, keep.gather(1, at))


@dataclass(frozen=True)
class RowsByClass:
    """All rows sorted by class: those of class p are order[start[p] : start[p] + size[p]] (CPU, int64)."""

    order: Tensor
    start: Tensor
    size: Tensor

    @classmethod
    def of(cls, groups: Tensor, n_groups: int) -> "RowsByClass":
        """Sort rows by `groups` (int64 [N], values in [0, n_groups)); within a class their order is kept."""
        groups = groups.cpu()
        size = torch.bincount(groups, minlength=n_groups)
        return cls(groups.argsort(stable=True), size.cumsum(0) - size, size)

    def block(self, classes: Tensor) -> Padded:
        """Row numbers of `classes` (int64 [B]), padded to the largest."""
        offsets = torch.arange(int(self.size[classes].max()))
        mask = offsets < self.size[classes, None]
        at = torch.where(mask, self.start[classes, None] + offsets, self.start[classes, None])
        return Padded(self.order[at], mask)

    def buckets(self, classes: Tensor, dimensions: int, vectors: int, elements: int) -> Iterator[Tensor]:
        """Split `classes` (int64 [P]) into batches of like size that need at most `elements` floats, or one class.

        Counted per class: its rows, its kernel and inverse, and a dozen work vectors for each of `vectors`
        labellings.
        """
        bucket: list[int] = []
        for name in classes[self.size[classes].argsort(stable=True)].tolist():
            size = int(self.size[name])
            small = min(size, dimensions)
            floats = (len(bucket) + 1) * (size * dimensions + 2 * small**2 + 12 * vectors * size)
            if bucket and (floats > elements or size > PADDING_SHARE * self.size[bucket[0]] + PADDING_ROWS):
                yield torch.tensor(bucket)
                bucket = []
            bucket.append(name)
        if bucket:
            yield torch.tensor(bucket)
