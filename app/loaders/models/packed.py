"""Image files packed end to end, decoded by threads while the network computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import UserError
from app.loaders.images import BadImage, decode_rgb
from app.loaders.models.preprocess import draft_size, to_pixels
from app.loaders.models.spec import Preprocessing

_AHEAD = 3


@dataclass(frozen=True)
class Batch:
    """Rows [start, start + n) of a shard: pixels uint8 [n, height, width, channels] and what went wrong by row."""

    start: int
    pixels: NDArray[np.uint8]
    failures: dict[int, str]


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


def decoded_batches(
    images: PackedImages, steps: Preprocessing, batch_size: int, threads: int, max_pixels: int
) -> Iterator[Batch]:
    """Yield the images in order, decoded and resized ahead of the consumer; rows that fail stay black."""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: deque[_Pending] = deque()
        starts = iter(range(0, len(images), batch_size))
        for start in starts:
            waiting.append(
                _Pending(pool, images, steps, range(start, min(start + batch_size, len(images))), max_pixels)
            )
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Pending:
    """A batch whose rows are being decoded."""

    def __init__(
        self, pool: ThreadPoolExecutor, images: PackedImages, steps: Preprocessing, rows: range, max_pixels: int
    ) -> None:
        self._rows = rows
        self._pixels = np.zeros((len(rows), *steps.size, steps.channels), np.uint8)
        group = max(1, min(16, len(rows) // pool._max_workers))
        self._futures: list[Future[dict[int, str]]] = [
            pool.submit(_decode_group, images, steps, rows[i : i + group], self._pixels[i : i + group], max_pixels)
            for i in range(0, len(rows), group)
        ]

    def result(self) -> Batch:
        failures: dict[int, str] = {}
        for future in self._futures:
            failures |= future.result()
        return Batch(self._rows.start, self._pixels, failures)


def _decode_group(
    images: PackedImages, steps: Preprocessing, rows: range, pixels: NDArray[np.uint8], max_pixels: int
) -> dict[int, str]:
    failures: dict[int, str] = {}
    draft = draft_size(steps)
    for place, row in enumerate(rows):
        try:
            pixels[place] = to_pixels(decode_rgb(images.file(row), max_pixels, draft=draft), steps)
        except BadImage as error:
            failures[row] = error.message
    return failures
