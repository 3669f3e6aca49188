"""Random access to the images of an imported data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import NotFound
from app.store.blobs import BlobStore

INDEX = "index.npy"
PACKS = "packs.json"


class DatasetImages:
    """The images of one data set: `folder` is its artifact, `blobs` holds its packs.

    The index is memory-mapped, so that opening a data set and reading a row cost the same at any number of rows.
    """

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._index: NDArray[np.uint64] = np.load(folder / INDEX, mmap_mode="r")
        self._packs: list[str] = json.loads((folder / PACKS).read_text())
        self._blobs = blobs

    def __len__(self) -> int:
        return len(self._index)

    def has_image(self, row: int) -> bool:
        """Whether the row came with an image; rows of an embeddings-only data set have none."""
        return bool(self._entry(row)[2])

    def original(self, row: int) -> bytes:
        """Return the image file as it came; empty when the row has no image."""
        return self._read(self._entry(row)[:3])

    def thumbnail(self, row: int) -> bytes:
        """Return the WebP thumbnail (160 px on its long side); empty when the row has no image."""
        return self._read(self._entry(row)[3:])

    def rows(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the image files of the rows [start, stop)."""
        for row in range(start, stop):
            yield self.original(row)

    def pack_rows(self, start: int, stop: int, target_folder: Path) -> tuple[Path, Path]:
        """Pack the rows [start, stop); see `pack`."""
        return self.pack(range(start, stop), target_folder)

    def pack(self, rows: Sequence[int], target_folder: Path) -> tuple[Path, Path]:
        """Write the image files of some rows one after the other, for a sandboxed child.

        Returns:
            `images.bin`, and `offsets.npy`: uint64 [n + 1]; image i is the bytes [offsets[i], offsets[i + 1]).
        """
        images, offsets = target_folder / "images.bin", target_folder / "offsets.npy"
        ends = np.zeros(len(rows) + 1, np.uint64)
        with images.open("wb") as target:
            for position, row in enumerate(rows, start=1):
                target.write(self.original(row))
                ends[position] = target.tell()
        np.save(offsets, ends)
        return images, offsets

    def _entry(self, row: int) -> list[int]:
        if not 0 <= row < len(self._index):
            raise NotFound(f"The data set has {len(self):,} rows; there is no row {row:,}.")
        entry: list[int] = self._index[row].tolist()
        return entry

    def _read(self, place: list[int]) -> bytes:
        pack, offset, length = place
        return self._blobs.read(self._packs[pack], offset, length) if length else b""
