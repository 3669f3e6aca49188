"""Corrupts a shard's images and asks the network again; runs in the sandboxed child."""

from __future__ import annotations

from typing import Any

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
    """Return, for each row, the clean image (column 0) and each cell.

    `outcome` int8 [rows, 1 + cells]: 1 right, 0 wrong, −1 not asked; `margin` float16: log-odds of the label against
    the others; `taken` int32: the predicted class. `list.size`: height and width. Then pictures, see `Kept`.
    """
    asked, columns = cells(shard.params), len(cells(shard.params)) + 1
    outcome = np.full((len(shard.labels), columns), -1, np.int8)
    margins = np.zeros((len(shard.labels), columns), np.float16)
    taken = np.full((len(shard.labels), columns), -1, np.int32)
    kept = Kept(gallery_rows(shard.split, shard.seed))
    places = _places(shard)
    done, size = 0, np.zeros((0, 2), np.int64)
    for batch in shard.pictures(places.tolist()):
        size = np.array([batch.pictures.shape[2:]], np.int64)
        labels, rows = shard.labels[batch.places], batch.places + shard.start
        clean = None
        for column, (kind, severity) in enumerate([("", 0), *asked]):
            pictures = batch.pictures if not kind else _corrupted(batch, rows, kind, severity, shard)
            found = _judged(shard.classify(pictures), labels)
            outcome[batch.places, column], margins[batch.places, column], taken[batch.places, column] = found
            clean = found[0] if clean is None else clean
            kept.offer(column, rows, batch.pictures, pictures, (clean == 1) & (found[0] == 0), found[1])
            shard.progress((done + len(rows) * (column + 1) / columns) / max(len(places), 1))
        done += len(rows)
    shard.progress(1.0)
    return {"outcome": outcome, "margin": margins, "taken": taken, "list.size": size, **kept.arrays()}


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
