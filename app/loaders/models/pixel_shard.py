"""Run an audit kind's own function on pixels and a network of any format; called in the sandboxed child."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from app.audits.pixels import PixelBatch, PixelShard
from app.loaders.decoding import pace
from app.loaders.images import MAX_PIXELS
from app.loaders.models.formats.safetensors import read_network
from app.loaders.models.model_shard import call_and_save
from app.loaders.models.packed import PackedImages, prepared_batches
from app.loaders.models.pixel_network import pixel_network
from app.loaders.models.predict import cached_model
from app.loaders.models.preprocess import to_input
from app.loaders.models.runtime import LoadedModel
from app.loaders.models.spec import ModelSpec, Preprocessing

_LUMA = (19595, 38470, 7471)
"""Pillow's weights of red, green and blue in grey, of 65,536."""


class PixelShardRequest(BaseModel):
    """What `run_shard` needs; paths are absolute and readable in the sandbox."""

    model_config = ConfigDict(extra="forbid")

    file: Path = Field(description="The checkpoint.")
    spec: ModelSpec
    images: list[Path] = Field(description="Packs of image files laid end to end.")
    ranges: Path
    labels: Path = Field(description=".npy int64 [rows], in the model's numbering, −1 where unknown.")
    start: int = Field(description="Data set row of the first image.")
    split: tuple[int, int] = Field(description="Data set rows of the audited split.")
    function: str
    params: dict[str, Any]
    seed: int
    output: Path = Field(description="Folder for the arrays; made if missing.")
    batch_size: int = Field(64, ge=1)
    device: str = "auto"
    dtype: str = "float32"
    max_pixels: int = MAX_PIXELS


def run_shard(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write each array that the function returns as <name>.npy.

    `payload` is a `PixelShardRequest`. Progress: `done`, `total`.

    Returns `arrays` (name → [shape, dtype]), `seconds`.

    Raises:
        UserError: the model cannot be loaded, or returns what no classifier returns.
    """
    request = PixelShardRequest.model_validate(payload)
    began = time.monotonic()
    described = call_and_save(request.function, _shard(request, progress), request.output)
    return {"arrays": described, "seconds": time.monotonic() - began}


def _shard(request: PixelShardRequest, progress: Callable[[dict[str, Any]], None]) -> PixelShard:
    model = cached_model(request.file, request.spec, request.device, request.dtype)
    model.batch_size = request.batch_size
    ranges = np.load(request.ranges, allow_pickle=False)
    images, steps = PackedImages(request.images, ranges), request.spec.preprocessing

    def pictures(places: Sequence[int]) -> Iterator[PixelBatch]:
        chosen = np.asarray(places, np.int64)
        size, found = model.fixed_batch or request.batch_size, images.chosen(chosen)
        for batch in prepared_batches(found, steps, size, pace(model.device), request.max_pixels):
            kept = [i for i in range(len(batch.pixels)) if batch.start + i not in batch.failures]
            if not kept:
                continue
            rows = torch.from_numpy(batch.pixels[kept]).to(model.device).permute(0, 3, 1, 2).contiguous()
            yield PixelBatch(chosen[batch.start : batch.start + len(batch.pixels)][kept], rows.expand(-1, 3, -1, -1))

    return PixelShard(
        classify=lambda rows: _logits(model, rows, steps),
        pictures=pictures,
        labels=np.load(request.labels, allow_pickle=False),
        start=request.start,
        split=request.split,
        params=request.params,
        seed=request.seed,
        progress=lambda share: progress({"done": int(share * len(images)), "total": len(images)}),
        network=lambda: pixel_network(request.file, request.spec, model),
        mean=_mean(steps),
        module=(lambda: _module(request, model.device)) if request.spec.format == "safetensors" else None,
    )


def _logits(model: LoadedModel, pictures: Tensor, steps: Preprocessing) -> Tensor:
    return model.predict(to_input(_channels(pictures, steps), steps))[0]


def _mean(steps: Preprocessing) -> tuple[int, int, int]:
    found = [min(max(round(255 * value / steps.scale), 0), 255) for value in steps.mean]
    red, green, blue = found if len(found) == 3 else found * 3
    return (blue, green, red) if steps.colour_order == "BGR" else (red, green, blue)


def _module(request: PixelShardRequest, device: torch.device) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    network = read_network(request.file, request.spec).requires_grad_(False).to(device)
    steps = request.spec.preprocessing
    return network, lambda pictures: to_input(_channels(pictures, steps), steps)


def _channels(pictures: Tensor, steps: Preprocessing) -> Tensor:
    """Bytes [n, height, width, channels] of pictures."""
    pixels = pictures if steps.channels == 3 else _grey(pictures)
    return pixels.permute(0, 2, 3, 1).contiguous()


def _grey(pictures: Tensor) -> Tensor:
    weights = torch.tensor(_LUMA, device=pictures.device).view(3, 1, 1)
    total = (pictures.long() * weights).sum(dim=1, keepdim=True)
    return ((total + 32768) >> 16).to(torch.uint8)
