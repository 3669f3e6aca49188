"""Pictures that a shard keeps: of the images that broke worst the original, the change and the result."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

WORST = 6
"""Images kept by a shard."""

_LONGEST = 256
_LOSSLESS = 64


class Kept:
    """Collects the images that broke at the smallest ε and, of those, with the lowest margin."""

    def __init__(self) -> None:
        self._worst: list[tuple[int, float, int, NDArray[np.float32], NDArray[np.float32]]] = []

    def offer(
        self, rows: NDArray[np.int64], column: int, images: Tensor, found: Tensor, margins: NDArray[np.float32]
    ) -> None:
        """Look at images [n, c, h, w] that were broken at the ε of a column, and at what broke them."""
        for i in np.argsort(margins, kind="stable")[:WORST].tolist():
            self._worst.append((column, float(margins[i]), int(rows[i]), _array(images[i]), _array(found[i])))
        self._worst = sorted(self._worst, key=lambda entry: entry[:3])[:WORST]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return `list.pictures` uint8, WebP files end to end; for each, `list.picture` int64 (row, part, length).

        `list.amplified` float64 (row, factor): by how much the change is amplified; grey in its picture is no change.
        """
        files, index, factors = [], [], []
        for _, _, row, image, found in sorted(self._worst, key=lambda entry: entry[2]):
            factor = 0.5 / max(float(np.abs(found - image).max()), 1e-9)
            parts = (image, 0.5 + (found - image) * factor, found)
            for part, pixels in enumerate(parts):
                files.append(_file(pixels))
                index.append((row, part, len(files[-1])))
            factors.append((float(row), factor))
        return {
            "list.pictures": np.frombuffer(b"".join(files), np.uint8).copy(),
            "list.picture": np.array(index, np.int64).reshape(-1, 3),
            "list.amplified": np.array(factors, np.float64).reshape(-1, 2),
        }


def _array(picture: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = picture.permute(1, 2, 0).float().cpu().numpy()
    return found


def _file(pixels: NDArray[np.float32]) -> bytes:
    data = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
    image, target = Image.fromarray(np.broadcast_to(data, (*data.shape[:2], 3)).copy()), io.BytesIO()
    image.thumbnail((_LONGEST, _LONGEST))
    image.save(target, "WEBP", quality=90, lossless=max(image.size) <= _LOSSLESS)
    return target.getvalue()
