"""The labels of a data set's rows, for pages that list its pictures."""

from __future__ import annotations

from collections.abc import Iterator
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


def example_ids(folder: Path, start: int, stop: int, batch: int = 16_384) -> Iterator[list[str]]:
    """Yield the ids of the rows [start, stop) of the data set in `folder`, part by part."""
    filters = [("row", ">=", start), ("row", "<", stop)]
    column = pq.read_table(folder / MANIFEST, columns=["example_id"], filters=filters).column("example_id")
    for begin in range(0, len(column), batch):
        yield column.slice(begin, batch).to_pylist()


def hashes(folder: Path, start: int, stop: int) -> dict[str, str]:
    """Return the picture's hash of each example id of the rows [start, stop); an id of its own where there is none."""
    filters = [("row", ">=", start), ("row", "<", stop)]
    table = pq.read_table(folder / MANIFEST, columns=["row", "example_id", "sha256"], filters=filters)
    columns = (table[name].to_pylist() for name in table.column_names)
    return {name: hash_ or f"{folder.name} {row}" for row, name, hash_ in zip(*columns, strict=True)}


def rows_of_class(folder: Path, label: int, start: int, stop: int, after: int, limit: int) -> list[int]:
    """Return up to `limit` rows of a class in [start, stop), from row `after` on, in order."""
    begin = max(start, after)
    found = np.flatnonzero(labels(folder)[begin:stop] == label)[:limit] + begin
    rows: list[int] = found.tolist()
    return rows
