"""Pictures that a shard keeps: every cell of a few images, and of each cell the images that fell furthest."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from app.audits.corruptions.worst import WORST

_LONGEST = 256
_LOSSLESS = 64


class Kept:
    """Collects pictures in batches. An image that is kept corrupted is kept clean too, as column 0."""

    def __init__(self, gallery: set[int]) -> None:
        self._gallery = gallery
        self._shown: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._worst: dict[int, list[tuple[float, int, NDArray[np.uint8], NDArray[np.uint8]]]] = {}

    def offer(
        self,
        column: int,
        rows: NDArray[np.int64],
        clean: Tensor,
        pictures: Tensor,
        fell: NDArray[np.bool_],
        margins: NDArray[np.float16],
    ) -> None:
        """Look at a batch's pictures of one cell; `fell`: right when clean and wrong now."""
        for i, row in enumerate(rows.tolist()):
            if row in self._gallery:
                self._shown[row, column] = _pixels(pictures[i])
        worst = self._worst.setdefault(column, [])
        bar = worst[-1][0] if len(worst) == WORST else np.inf
        order = np.flatnonzero(fell)[np.argsort(margins[fell], kind="stable")][:WORST].tolist()
        for i in order:
            if margins[i] < bar:
                worst.append((float(margins[i]), int(rows[i]), _pixels(clean[i]), _pixels(pictures[i])))
        self._worst[column] = sorted(worst, key=lambda entry: entry[:2])[:WORST]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return `list.pictures` uint8, WebP files end to end; for each `list.picture` int64 (row, column, length)."""
        found = dict(self._shown)
        for column, worst in self._worst.items():
            for _, row, clean, picture in worst:
                found[row, 0], found[row, column] = clean, picture
        files = {place: _file(pixels) for place, pixels in sorted(found.items())}
        index = [(row, column, len(data)) for (row, column), data in files.items()]
        return {
            "list.pictures": np.frombuffer(b"".join(files.values()), np.uint8).copy(),
            "list.picture": np.array(index, np.int64).reshape(-1, 3),
        }


def _pixels(picture: Tensor) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = picture.permute(1, 2, 0).cpu().numpy().copy()
    return found


def _file(pixels: NDArray[np.uint8]) -> bytes:
    image, target = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((_LONGEST, _LONGEST))
    image.save(target, "WEBP", quality=85, lossless=max(image.size) <= _LOSSLESS)
    return target.getvalue()
