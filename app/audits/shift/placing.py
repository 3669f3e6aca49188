"""Which images of both sets belong to a slice, by its direction and cut: the rule for rows that no search saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch

from app.audits.base import Inputs
from app.audits.shift.sets import Bools, Ints, Side
from app.numerics.embedding import Standardiser

SLICES = "slices:slices"


class Placed(NamedTuple):
    """A confirmed slice in both sets; rows are places in their splits."""

    key: str
    class_index: int
    first: Ints
    """Held-out audited rows that the rule puts into it."""
    second: Ints
    pool: tuple[int, int]
    """Rows of its class that the rule was asked of."""
    agreement: float
    """Of the held-out audited rows in the slice or under the rule, the share that is in both."""


def place_slices(inputs: Inputs, folder: Path, first: Side, second: Side) -> list[Placed]:
    """Place the labelled rows of both sets in the confirmed slices; of the audited set the confirm rows alone.

    The stage `slices` leaves each slice's direction and the projection from which rows belong to it. It chose both on
    the fit rows, whose errors they therefore know.
    """
    table = pq.read_table(folder / "candidates.parquet", columns=["key", "class_index", "evidence", "rows"])
    found = [(place, row) for place, row in enumerate(table.to_pylist()) if row["evidence"] == "confirmed"]
    directions, cuts = np.load(folder / "slice_directions.npy", mmap_mode="r"), np.load(folder / "slice_cuts.npy")
    held = np.load(folder / "audited.npy") & ~np.load(folder / "fit.npy")
    scale = Standardiser(*(torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("mean", "std")))
    placed = []
    for index in sorted({row["class_index"] for _, row in found}):
        own = [(place, row) for place, row in found if row["class_index"] == index]
        pools = _pool(first, held, index), _pool(second, second.judged, index)
        places = [place for place, _ in own]
        members = [
            _under(side, pool, scale, directions[places], cuts[places])
            for side, pool in zip((first, second), pools, strict=True)
        ]
        placed += list(_each([row for _, row in own], index, pools, members))
        inputs.progress(0.1 + 0.4 * len(placed) / len(found), "Finding the slices again in the second set")
    return placed


def _pool(side: Side, rows: Bools, index: int) -> Ints:
    return np.flatnonzero(rows & side.judged & ((side.labels == index) if index >= 0 else True))


def _under(side: Side, pool: Ints, scale: Standardiser, directions: np.ndarray, cuts: np.ndarray) -> Bools:
    """Whether each row of the pool lies beyond each cut: bool [pool, slices]."""
    assert side.split.embeddings is not None
    rows = torch.from_numpy(np.array(side.split.embeddings[pool], np.float32))
    projected = scale.unit_rows(rows) @ torch.from_numpy(np.array(directions, np.float32)).T
    return np.asarray(projected.numpy() >= cuts)


def _each(
    rows: list[dict[str, object]], index: int, pools: tuple[Ints, Ints], members: list[Bools]
) -> Iterator[Placed]:
    for column, row in enumerate(rows):
        inside = np.isin(pools[0], np.asarray(row["rows"], np.int64))
        under = members[0][:, column]
        either = int((inside | under).sum())
        yield Placed(
            str(row["key"]),
            index,
            pools[0][under],
            pools[1][members[1][:, column]],
            (len(pools[0]), len(pools[1])),
            int((inside & under).sum()) / either if either else 0.0,
        )
