"""Which of the shards' pictures a run keeps for its pages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs
from app.audits.corruptions.sample import gallery_rows
from app.audits.corruptions.worst import WORST, worst_places
from app.audits.pixels import ENDS, PICTURES


def kept_pictures(
    inputs: Inputs, positions: NDArray[np.int64], measured: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the pictures of the gallery and of each cell's worst images.

    `pictures.of` int64 [p, 2]: position within the split and column, sorted; column 0 is the clean image. The files are
    what `app.audits.pixels` says. Anything that is no WebP file is left out: the child that wrote it held an upload.
    """
    index = inputs.audited.model["measure.list.picture"]
    data = np.asarray(inputs.audited.model["measure.list.pictures"])
    start = int(inputs.audited.manifest["row"][0].as_py())
    ends = np.cumsum(index[:, 2])
    wanted = _wanted(inputs, positions, measured, start)
    found: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for (row, column, length), end in zip(index.tolist(), ends.tolist(), strict=True):
        place, file = (row - start, column), data[end - length : end]
        if place in wanted and bytes(file[:4]) == b"RIFF" and bytes(file[8:12]) == b"WEBP":
            found[place] = file
    order = sorted(found)
    return {
        "pictures.of": np.array(order, np.int64).reshape(-1, 2),
        PICTURES: np.concatenate([found[place] for place in order]) if order else np.zeros(0, np.uint8),
        ENDS: np.cumsum([len(found[place]) for place in order]).astype(np.int64),
    }


def _wanted(
    inputs: Inputs, positions: NDArray[np.int64], measured: dict[str, NDArray[Any]], start: int
) -> set[tuple[int, int]]:
    columns = measured["outcome"].shape[1]
    split = (start, start + inputs.audited.manifest.num_rows)
    wanted = {(row - start, column) for row in gallery_rows(split, inputs.seed) for column in range(columns)}
    for column in range(1, columns):
        for place in worst_places(measured["outcome"], measured["margin"], column)[:WORST]:
            wanted |= {(int(positions[place]), 0), (int(positions[place]), column)}
    return wanted
