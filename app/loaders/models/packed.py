"""Image files packed end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import UserError
from app.loaders.decoding import Batch, Pace, decoded_batches
from app.loaders.images import decode_rgb
from app.loaders.models.preprocess import draft_size, to_pixels
from app.loaders.models.spec import Preprocessing


class PackedImages:
    """Bytes of image files in one or more packs.

    `ranges` is int64 [n + 1] (ends, one pack), [n, 2] (offset, length; one pack) or [n, 3] (pack, offset, length).
    """

    def __init__(self, packs: Sequence[Path], ranges: NDArray[np.integer]) -> None:
        self._paths = packs
        self._packs = [np.memmap(path, mode="r", dtype=np.uint8) if path.stat().st_size else b"" for path in packs]
        self._rows = _as_triples(np.asarray(ranges).astype(np.int64))
        self._check()

    def __len__(self) -> int:
        return len(self._rows)

    def first(self, count: int) -> PackedImages:
        """These images, without those after the first `count`."""
        return PackedImages(self._paths, self._rows[:count])

    def chosen(self, rows: NDArray[np.int64]) -> PackedImages:
        """These images in this order."""
        return PackedImages(self._paths, self._rows[rows])

    def file(self, row: int) -> bytes:
        """The bytes of one image file."""
        pack, offset, length = self._rows[row]
        return bytes(self._packs[pack][offset : offset + length])

    def _check(self) -> None:
        sizes = np.array([len(pack) for pack in self._packs])
        packs, offsets, lengths = self._rows.T
        inside = (packs >= 0) & (packs < len(sizes)) & (offsets >= 0) & (lengths >= 0)
        if not inside.all() or (offsets + lengths > sizes[packs]).any():
            raise UserError("The image table points outside of its packs: import the data set again.")


def _as_triples(ranges: NDArray[np.int64]) -> NDArray[np.int64]:
    if ranges.ndim == 1:
        ranges = np.stack([ranges[:-1], np.diff(ranges)], 1)
    if ranges.shape[1] == 2:
        ranges = np.concatenate([np.zeros((len(ranges), 1), np.int64), ranges], 1)
    return ranges


def prepared_batches(
    images: PackedImages, steps: Preprocessing, batch_size: int, pace: Pace, max_pixels: int
) -> Iterator[Batch]:
    """Yield the images in order, decoded, resized and cropped; rows that fail stay black."""
    draft = draft_size(steps)

    def prepare(row: int) -> NDArray[np.uint8]:
        return to_pixels(decode_rgb(images.file(row), max_pixels, draft=draft), steps)

    return decoded_batches(range(len(images)), prepare, (*steps.size, steps.channels), batch_size, pace)
