"""Run an audit kind's own function on a network and one shard of images; called in the sandboxed child."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import fx

from app.audits.base import ModelBatch, ModelShard
from app.errors import UserError
from app.loaders.decoding import pace
from app.loaders.images import MAX_PIXELS
from app.loaders.models.checkpoints import read_checkpoints
from app.loaders.models.no_gradients import NoGradients
from app.loaders.models.packed import PackedImages, prepared_batches
from app.loaders.models.preprocess import to_input
from app.loaders.models.reasons import NAME, read_reason, save_reason
from app.loaders.models.runtime import pick_device
from app.loaders.models.spec import ModelSpec
from app.numerics.attribution.factors import CannotTap

_loaded: dict[str, list[fx.GraphModule] | NoGradients] = {}


class ModelShardRequest(BaseModel):
    """What `run_shard` needs; paths are absolute and readable in the sandbox."""

    model_config = ConfigDict(extra="forbid")

    files: list[Path] = Field(description="The checkpoints in order.")
    spec: ModelSpec
    images: list[Path] = Field(description="Packs of image files laid end to end.")
    ranges: Path
    labels: Path = Field(description=".npy int64 [rows], in the model's numbering, −1 where unknown.")
    function: str
    params: dict[str, Any]
    seed: int
    fitted: Path | None = Field(None, description="Folder of the arrays that were fitted before, if any.")
    output: Path = Field(description="Folder for the arrays; made if missing.")
    batch_size: int = Field(64, ge=1)
    device: str = "auto"
    max_pixels: int = MAX_PIXELS


def run_shard(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write each array that the function returns as <name>.npy.

    `payload` is a `ModelShardRequest`. Rows whose image cannot be read have the label −1. Progress: `done`, `total`.

    Returns `arrays` (name → [shape, dtype]), `seconds`. Where the network gives no gradients, the one array is
    `reason` (see `save_reason`).

    Raises:
        UserError: a gradient is not finite, or the file is not what `spec` says.
    """
    request = ModelShardRequest.model_validate(payload)
    began = time.monotonic()
    try:
        described = call_and_save(request.function, _shard(request, progress), request.output)
    except FloatingPointError as error:
        raise UserError(f"{error} The checkpoint may have diverged; leave it out.") from error
    except (NoGradients, CannotTap) as error:
        rows = len(np.load(request.labels, mmap_mode="r", allow_pickle=False))
        described = save_reason(request.output, str(error), rows)
    return {"arrays": described, "seconds": time.monotonic() - began}


def call_and_save(function: str, shard: Any, output: Path) -> dict[str, Any]:
    """Call "package.module:callable" and write its arrays as <name>.npy; return name → [shape, dtype]."""
    module, _, name = function.partition(":")
    arrays: dict[str, NDArray[Any]] = getattr(importlib.import_module(module), name)(shard)
    output.mkdir(parents=True, exist_ok=True)
    for title, array in arrays.items():
        np.save(output / f"{title}.npy", array, allow_pickle=False)
    return {title: [list(array.shape), str(array.dtype)] for title, array in arrays.items()}


def _shard(request: ModelShardRequest, progress: Callable[[dict[str, Any]], None]) -> ModelShard:
    device = pick_device(request.device)
    images = PackedImages(request.images, np.load(request.ranges, allow_pickle=False))
    labels = torch.from_numpy(np.load(request.labels, allow_pickle=False))

    def batches() -> Iterator[ModelBatch]:
        steps = request.spec.preprocessing
        for batch in prepared_batches(images, steps, request.batch_size, pace(device), request.max_pixels):
            found = to_input(torch.from_numpy(batch.pixels).to(device), steps)
            # The graph was written for this order of memory, and a `view` in it takes no other; a copy, since one
            # channel counts as both orders.
            found = found.clone(memory_format=torch.contiguous_format)
            own = labels[batch.start : batch.start + len(found)].clone()
            own[[row - batch.start for row in batch.failures]] = -1
            yield ModelBatch(batch.start, found, own.to(device))
            progress({"done": batch.start + len(found), "total": len(images)})

    networks = cached_graphs(request.files, request.spec, device)
    return ModelShard(networks, batches, len(images), request.params, request.seed, _fitted(request.fitted))


def _fitted(folder: Path | None) -> dict[str, NDArray[Any]]:
    found = {path.stem: np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))} if folder else {}
    if NAME in found:
        raise NoGradients(read_reason(found[NAME]))
    return found


def cached_graphs(files: list[Path], spec: ModelSpec, device: torch.device) -> list[fx.GraphModule]:
    """Look into every checkpoint once per process; those of the last version, or why there are none, are kept."""
    key = "\n".join([*(f"{file} {file.stat().st_mtime_ns}" for file in files), spec.model_dump_json(), str(device)])
    if key not in _loaded:
        _loaded.clear()
        try:
            _loaded[key] = read_checkpoints(files, spec, device)
        except NoGradients as error:
            _loaded[key] = error
    found = _loaded[key]
    if isinstance(found, NoGradients):
        raise found
    return found
