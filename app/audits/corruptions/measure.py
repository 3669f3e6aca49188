"""Corrupts a shard's images and asks the network again; runs in the sandboxed child."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.corruptions.pictures import Kept
from app.audits.corruptions.sample import families, gallery_rows, sampled
from app.audits.corruptions.schema import cells
from app.audits.pixels import PixelBatch, PixelShard
from app.errors import UserError
from app.numerics.corruptions.corrupt import corrupt

_LARGEST = 60_000.0
"""float16 ends a little above."""


def measure(shard: PixelShard) -> dict[str, NDArray[Any]]:
    """Return, for the images that were drawn, the clean image (column 0) and each cell.

    `list.row` int64 [m]: data set rows; `list.outcome` int8 [m, 1 + cells]: 1 right, 0 wrong; `list.margin` float16:
    log-odds of the label against the others; `list.taken` int32: the predicted class; `list.size`: height and width.
    Then pictures, see `Kept`.
    """
    asked, kept, places = cells(shard.params), Kept(gallery_rows(shard.split, shard.seed)), _places(shard)
    columns, size = len(asked) + 1, np.zeros((0, 2), np.int64)
    parts = [_Part.of(np.zeros(0, np.int64), columns)]
    for batch in shard.pictures(places.tolist()):
        labels, size = shard.labels[batch.places], np.array([batch.pictures.shape[2:]], np.int64)
        part, done = _Part.of(batch.places + shard.start, columns), sum(len(part.row) for part in parts)
        for column, (kind, severity) in enumerate([("", 0), *asked]):
            pictures = _corrupted(batch, part.row, kind, severity, shard) if kind else batch.pictures
            part.outcome[:, column], part.margin[:, column], part.taken[:, column] = _judged(
                shard.classify(pictures), labels
            )
            fell = (part.outcome[:, 0] == 1) & (part.outcome[:, column] == 0)
            kept.offer(column, part.row, batch.pictures, pictures, fell, part.margin[:, column])
            shard.progress((done + len(part.row) * (column + 1) / columns) / max(len(places), 1))
        parts.append(part)
    shard.progress(1.0)
    joined = {f"list.{name}": np.concatenate([getattr(part, name) for part in parts]) for name in _Part._fields}
    return {**joined, "list.size": size, **kept.arrays()}


class _Part(NamedTuple):
    """What a batch says."""

    row: NDArray[np.int64]
    outcome: NDArray[np.int8]
    margin: NDArray[np.float16]
    taken: NDArray[np.int32]

    @classmethod
    def of(cls, rows: NDArray[np.int64], columns: int) -> _Part:
        shape = (len(rows), columns)
        return cls(rows, np.zeros(shape, np.int8), np.zeros(shape, np.float16), np.zeros(shape, np.int32))


def _places(shard: PixelShard) -> NDArray[np.int64]:
    rows = sampled(shard.split, shard.seed, shard.params["budget"])
    places: NDArray[np.int64] = np.sort(rows[(rows >= shard.start) & (rows < shard.start + len(shard.labels))])
    places -= shard.start
    return places[shard.labels[places] >= 0]


def _corrupted(batch: PixelBatch, rows: NDArray[np.int64], kind: str, severity: int, shard: PixelShard) -> Tensor:
    height, width = batch.pictures.shape[2:]
    family = families(shard.params["family"], height, width)
    try:
        return corrupt(batch.pictures, kind, severity, family=family, rows=rows.tolist(), seed=shard.seed)
    except ValueError as error:
        raise UserError(f"{error} This model takes images of {height} × {width} pixels.") from error


def _judged(logits: Tensor, labels: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Whether each is right, its margin, and what it is taken for."""
    truth = torch.from_numpy(labels)[:, None]
    own = logits.gather(1, truth)[:, 0]
    others = logits.scatter(1, truth, -torch.inf)
    margin = (own - torch.logsumexp(others, dim=1)).clamp(-_LARGEST, _LARGEST)
    taken = logits.argmax(dim=1)
    right = (taken == truth[:, 0]).to(torch.int8)
    return right.numpy(), margin.numpy().astype(np.float16), taken.numpy().astype(np.int32)
