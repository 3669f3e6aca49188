"""Run a classifier over one shard of images; called in the sandboxed child."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from app.loaders.decoding import Batch, pace
from app.loaders.images import MAX_PIXELS
from app.loaders.models.packed import PackedImages, prepared_batches
from app.loaders.models.preprocess import Inputs
from app.loaders.models.runtime import LoadedModel, load_model
from app.loaders.models.spec import ModelSpec

_loaded: dict[str, LoadedModel] = {}


class ShardRequest(BaseModel):
    """What `predict_shard` needs; paths are absolute and readable in the sandbox."""

    model_config = ConfigDict(extra="forbid")

    file: Path = Field(description="The checkpoint.")
    spec: ModelSpec
    images: list[Path] = Field(description="Packs of image files laid end to end.")
    ranges: Path = Field(description=".npy: [n + 1] ends, [n, 2] offset and length, or [n, 3] pack, offset, length.")
    output: Path = Field(description="Folder for logits.npy and features.npy; made if missing.")
    batch_size: int = Field(64, ge=1)
    device: str = "auto"
    dtype: str = "auto"
    max_pixels: int = MAX_PIXELS


def predict_shard(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write logits.npy float32 [n, C] and, where the format shows them, features.npy float32 [n, d].

    `payload` is a `ShardRequest`. Rows whose image cannot be read hold NaN and are listed. Progress: `done`, `total`.

    Returns `rows`, `classes`, `features` (d or None), `unreadable` (list of row and message), `batch_size` (in the
    end), `seconds`.

    Raises:
        UserError: the model cannot be loaded, or returns what no classifier returns.
    """
    request = ShardRequest.model_validate(payload)
    model = cached_model(request.file, request.spec, request.device, request.dtype)
    model.batch_size = request.batch_size
    images = PackedImages(request.images, np.load(request.ranges, allow_pickle=False))
    began = time.monotonic()
    request.output.mkdir(parents=True, exist_ok=True)
    writer = _Writer(request.output, len(images))
    unreadable: dict[int, str] = {}
    inputs = Inputs(request.spec.preprocessing)
    for batch in _batches(images, request, model):
        pixels = torch.from_numpy(batch.pixels).to(model.device)
        writer.write(batch, *model.predict(inputs.of(pixels)))
        unreadable |= batch.failures
        progress({"done": batch.start + len(batch.pixels), "total": len(images)})
    writer.close()
    return {
        "rows": len(images),
        "classes": writer.classes,
        "features": writer.width,
        "unreadable": [{"row": row, "message": message} for row, message in sorted(unreadable.items())],
        "batch_size": model.fixed_batch or model.batch_size,
        "seconds": time.monotonic() - began,
    }


def cached_model(file: Path, spec: ModelSpec, device: str, dtype: str) -> LoadedModel:
    """Load a model once per process; the last one is kept."""
    key = f"{file}\n{file.stat().st_mtime_ns}\n{spec.model_dump_json()}\n{device}\n{dtype}"
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load_model(file, spec, device, dtype)
    return _loaded[key]


def _batches(images: PackedImages, request: ShardRequest, model: LoadedModel) -> Iterator[Batch]:
    size = model.fixed_batch or request.batch_size
    return prepared_batches(images, request.spec.preprocessing, size, pace(model.device), request.max_pixels)


class _Writer:
    """Fills the output arrays, whose widths the first batch settles."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._rows = folder, rows
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self.classes: int | None = None
        self.width: int | None = None

    def write(self, batch: Batch, logits: torch.Tensor, features: torch.Tensor | None) -> None:
        self.classes = logits.shape[1]
        self.width = None if features is None else features.shape[1]
        self._put("logits", batch, logits)
        if features is not None:
            self._put("features", batch, features)

    def close(self) -> None:
        for array in self._arrays.values():
            assert isinstance(array, np.memmap)
            array.flush()

    def _put(self, name: str, batch: Batch, values: torch.Tensor) -> None:
        if name not in self._arrays:
            shape = (self._rows, values.shape[1])
            path = self._folder / f"{name}.npy"
            self._arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        rows = values.numpy()
        rows[[row - batch.start for row in batch.failures]] = np.nan
        self._arrays[name][batch.start : batch.start + len(rows)] = rows
