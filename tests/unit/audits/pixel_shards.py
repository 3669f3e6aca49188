"""Small splits as work on pixels gets them in the child, and what it found as a stage reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import BaseModel

from app.audits.base import Inputs
from app.audits.pixels import PixelBatch, PixelShard
from tests.unit.audits.planted_inputs import planted_inputs


def pixel_shard(
    images: np.ndarray, labels: np.ndarray, start: int, rows: int, params: BaseModel, /, **changes: Any
) -> PixelShard:
    """Some rows of a split of pictures uint8 [n, channels, height, width], read seven at a time.

    Whoever asks the network on pictures and not on numbers has to name `classify` among the changes.
    """
    mine = torch.from_numpy(images[start : start + rows])

    def pictures(places: Sequence[int]) -> Iterator[PixelBatch]:
        for at in range(0, len(places), 7):
            part = np.asarray(places[at : at + 7], np.int64)
            yield PixelBatch(part, mine[part])

    made = PixelShard(
        classify=lambda _pictures: pytest.fail("this kind asks the network on numbers"),
        pictures=pictures,
        labels=labels[start : start + rows],
        start=start,
        split=(0, len(images)),
        params=params.model_dump(),
        seed=0,
        progress=lambda _share: None,
    )
    return replace(made, **changes)


def ever_surer(rows: int, side: int) -> np.ndarray:
    """Three classes by the brightest channel, which stands out by 5/255 more with each image."""
    images = np.random.default_rng(0).integers(100, 120, (rows, 3, side, side), dtype=np.uint8)
    images[np.arange(rows), np.arange(rows) % 3] += np.arange(0, 5 * rows, 5, dtype=np.uint8)[:, None, None]
    return images


def stage_inputs(
    stage: str,
    found: dict[str, np.ndarray],
    labels: np.ndarray,
    params: BaseModel,
    classes: Sequence[str] = ("r", "g", "b"),
    **columns: Sequence[str],
) -> Inputs:
    """What the stage after `stage` reads; `columns` stand in the manifest beside rows and labels."""
    manifest = pa.table({"row": np.arange(len(labels)), "label": labels.astype(np.int32), **columns})
    model = {f"{stage}.{name}": array for name, array in found.items()}
    base = planted_inputs(rows=1)
    return replace(base, audited=replace(base.audited, manifest=manifest, model=model), params=params, classes=classes)
