"""Which of the shards' pictures a run keeps for its pages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.attacks.schema import CHANGE, ORIGINAL, RESULT
from app.audits.attacks.worst import worst_places
from app.audits.base import Inputs
from app.audits.pixels import ENDS, PICTURES

WORST = 12
"""Images shown."""


def kept_pictures(
    inputs: Inputs, positions: NDArray[np.int64], found: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the pictures of the images that broke worst, as `app.audits.pixels` says.

    `pictures.of` int64 [p, 2]: position within the split and part, sorted, three parts of each image;
    `pictures.amplified` float64 [p]: by how much that image's change is amplified. Anything that is no WebP file is
    left out: the child that wrote it held an upload.
    """
    index = inputs.audited.model["attack.list.picture"]
    data = np.asarray(inputs.audited.model["attack.list.pictures"])
    start = int(inputs.audited.manifest["row"][0].as_py())
    wanted = {int(positions[place]) for place in worst_places(found["outcome"], found["margin"])}
    files: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for (row, part, size), end in zip(index.tolist(), np.cumsum(index[:, 2]).tolist(), strict=True):
        file = data[end - size : end]
        if row - start in wanted and bytes(file[:4]) == b"RIFF" and bytes(file[8:12]) == b"WEBP":
            files[row - start, part] = file
    whole = [p for p in _ranked(found, positions) if all((p, part) in files for part in (ORIGINAL, CHANGE, RESULT))]
    order = sorted(place for place in files if place[0] in whole[:WORST])
    factors = {int(row) - start: factor for row, factor in inputs.audited.model["attack.list.amplified"].tolist()}
    return {
        "pictures.of": np.array(order, np.int64).reshape(-1, 2),
        "pictures.amplified": np.array([factors.get(position, 0.0) for position, _ in order], np.float64),
        PICTURES: np.concatenate([files[place] for place in order]) if order else np.zeros(0, np.uint8),
        ENDS: np.cumsum([len(files[place]) for place in order]).astype(np.int64),
    }


def _ranked(found: dict[str, NDArray[Any]], positions: NDArray[np.int64]) -> list[int]:
    places: list[int] = positions[worst_places(found["outcome"], found["margin"])].tolist()
    return places
