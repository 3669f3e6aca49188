"""The labels of a data set's rows, for pages that list its pictures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

MANIFEST = "manifest.parquet"


@lru_cache(maxsize=8)
def labels(folder: Path) -> NDArray[np.int32]:
    """Return the label of every row of the data set in `folder`, int32 [N], −1 where there is none."""
    column = pq.read_table(folder / MANIFEST, columns=["label"]).column("label")
    found: NDArray[np.int32] = column.to_numpy().astype(np.int32)
    found.flags.writeable = False
    return found


def rows_of_class(folder: Path, label: int, start: int, stop: int, after: int, limit: int) -> list[int]:
    """Return up to `limit` rows of a class in [start, stop), from row `after` on, in order."""
    begin = max(start, after)
    found = np.flatnonzero(labels(folder)[begin:stop] == label)[:limit] + begin
    rows: list[int] = found.tolist()
    return rows
