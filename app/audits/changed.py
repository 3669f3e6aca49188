"""Pictures of images that a change made wrong: of the worst the original, the change and the result. No torch.

A shard collects them in `Kept`; `kept_pictures` says which of all shards' a run keeps for its pages.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.audits.base import Inputs
from app.audits.pixels import ENDS, PICTURES

if TYPE_CHECKING:
    from torch import Tensor

ORIGINAL, CHANGE, RESULT = range(3)
"""Parts of a kept image."""
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


def kept_pictures(inputs: Inputs, stage: str, worst: Sequence[int], most: int) -> dict[str, NDArray[Any]]:
    """Return the pictures of the first images of `worst` that are whole, as `app.audits.pixels` says.

    `worst` are positions within the split, `stage` is the stage of the model whose shards kept them.
    `pictures.of` int64 [p, 2]: position within the split and part, sorted, three parts of each image;
    `pictures.amplified` float64 [p]: by how much that image's change is amplified. Anything that is no WebP file is
    left out: the child that wrote it held an upload.
    """
    index, start = inputs.audited.model[f"{stage}.list.picture"], int(inputs.audited.manifest["row"][0].as_py())
    data = np.asarray(inputs.audited.model[f"{stage}.list.pictures"])
    wanted = set(worst)
    files: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for (row, part, size), end in zip(index.tolist(), np.cumsum(index[:, 2]).tolist(), strict=True):
        file = data[end - size : end]
        if row - start in wanted and bytes(file[:4]) == b"RIFF" and bytes(file[8:12]) == b"WEBP":
            files[row - start, part] = file
    whole = [p for p in worst if all((p, part) in files for part in (ORIGINAL, CHANGE, RESULT))]
    order = sorted(place for place in files if place[0] in whole[:most])
    factors = {int(row) - start: factor for row, factor in inputs.audited.model[f"{stage}.list.amplified"].tolist()}
    return {
        "pictures.of": np.array(order, np.int64).reshape(-1, 2),
        "pictures.amplified": np.array([factors.get(position, 0.0) for position, _ in order], np.float64),
        PICTURES: np.concatenate([files[place] for place in order]) if order else np.zeros(0, np.uint8),
        ENDS: np.cumsum([len(files[place]) for place in order]).astype(np.int64),
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
