"""Train a version's architecture anew from its recipe; called in the sandboxed child."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from app.audits.retraining import MEASURED, TrainedNetwork
from app.errors import UserError
from app.loaders.decoding import pace
from app.loaders.images import MAX_PIXELS
from app.loaders.models.architectures import build
from app.loaders.models.formats.safetensors import read_weights
from app.loaders.models.packed import PackedImages, prepared_batches
from app.loaders.models.pixel_network import normalised
from app.loaders.models.preprocess import to_input
from app.loaders.models.recipe import Recipe
from app.loaders.models.runtime import pick_device
from app.loaders.models.spec import ModelSpec, Preprocessing
from app.numerics.training.settings import TrainingSettings
from app.numerics.training.train import Outputs, Rows, outputs, train

Arrays = dict[str, NDArray[Any]]
Progress = Callable[[dict[str, Any]], None]
_BATCH = 64


class DecodeRequest(BaseModel):
    """What `decode` needs; paths are absolute."""

    model_config = ConfigDict(extra="forbid")

    images: list[Path] = Field(description="Packs of image files laid end to end.")
    ranges: Path
    preprocessing: Preprocessing
    output: Path = Field(description="Folder of pixels.npy and readable.npy; made if missing.")
    max_pixels: int = MAX_PIXELS


class Measures(BaseModel):
    """What else is asked of each trained network."""

    model_config = ConfigDict(extra="forbid")

    function: str = Field(description="`package.module:callable`, see `app.audits.retraining.TrainedNetwork`.")
    version: int
    params: dict[str, Any]
    seed: int
    rows: list[int] = Field(description="Data set rows of the targets.")


class TrainRequest(BaseModel):
    """What `train_models` needs; paths are absolute and readable in the sandbox."""

    model_config = ConfigDict(extra="forbid")

    file: Path | None = Field(
        description="A safetensors checkpoint: it says how many outputs the network has. None: one for each class."
    )
    spec: ModelSpec
    recipe: Recipe
    train: Path = Field(description="Folder that `decode` wrote for the training split.")
    train_labels: Path = Field(description=".npy int64 [N], in the model's numbering, −1 where unknown.")
    targets: Path = Field(description="Folder that `decode` wrote for the targets.")
    target_labels: Path = Field(description=".npy int64 [m].")
    masks: Path = Field(description=".npy bool [M, N]: the rows that each network sees.")
    seeds: list[int] = Field(description="One for each network.")
    noise: list[float] = Field([], description="Of each network, in place of the recipe's; empty: the recipe's.")
    measures: Measures | None = None
    output: Path = Field(description="Folder for the arrays; made if missing.")
    device: str = "auto"


def decode(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Write `pixels.npy` uint8 [n, height, width, channels] and `readable.npy` bool [n], a batch in memory at a time.

    `payload` is a `DecodeRequest`. Progress: `done`, `total`.
    """
    request = DecodeRequest.model_validate(payload)
    images = PackedImages(request.images, np.load(request.ranges, allow_pickle=False))
    steps, readable = request.preprocessing, np.ones(len(images), bool)
    request.output.mkdir(parents=True, exist_ok=True)
    shape = (len(images), *steps.size, steps.channels)
    pixels = np.lib.format.open_memmap(request.output / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    for batch in prepared_batches(images, steps, _BATCH, pace(torch.device("cpu")), request.max_pixels):
        pixels[batch.start : batch.start + len(batch.pixels)] = batch.pixels
        readable[list(batch.failures)] = False
        progress({"done": batch.start + len(batch.pixels), "total": len(images)})
    pixels.flush()
    np.save(request.output / "readable.npy", readable)
    return {"unreadable": int((~readable).sum())}


def train_models(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Write `margins.npy` float32 [M, m], `right.npy` bool [M, m], `own.npy` float32 [M, N], `measured.*.npy`.

    `payload` is a `TrainRequest`. Progress: `done` networks (a fraction within one), `total`.

    Returns `seconds`, and `measured` (name → [shape, dtype]) of what was measured of each network.

    Raises:
        UserError: the architecture cannot be built, a network has no rows, or its loss is not finite.
    """
    request = TrainRequest.model_validate(payload)
    began, device = time.monotonic(), pick_device(request.device)
    trained, targets = (
        _rows(folder, labels, request.spec.preprocessing)
        for folder, labels in ((request.train, request.train_labels), (request.targets, request.target_labels))
    )
    masks = torch.from_numpy(np.load(request.masks, allow_pickle=False)) & (trained.labels >= 0)
    (spec, state), found, measured = to_build(request), list[tuple[Outputs, Outputs]](), list[Arrays]()
    for place, seed in enumerate(request.seeds):
        settings = _settings(request, place)

        def said(share: float, place: int = place) -> None:
            progress({"done": place + share, "total": len(request.seeds)})

        network = fresh_network(spec, state, request.recipe.seed * 2**31 + seed)
        _fit(network, trained, masks[place].nonzero()[:, 0], settings, seed, device, said)
        found.append((outputs(network, targets, device), outputs(network, trained, device)))
        if request.measures:
            measured.append(_measured(network, targets, request, settings.noise, device))
    _save(request.output, found)
    return {"seconds": time.monotonic() - began, "measured": _save_measured(request.output, measured)}


class _Wide(dict[str, Tensor]):
    """Stands for weights that nobody has: whatever the classifier is called, it has so many outputs."""

    def __init__(self, outputs: int) -> None:
        self._weight = torch.empty(outputs, 1, device="meta")

    def get(self, _name: str, _default: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Return a weight of that many rows."""
        return self._weight


def to_build(request: TrainRequest) -> tuple[ModelSpec, Mapping[str, Tensor]]:
    """What names the architecture, and weights that say how many outputs it has.

    Raises:
        UserError: the recipe's architecture cannot be built, or has another number of outputs than there are classes.
    """
    if request.file is not None:
        return request.spec, read_weights(request.file)
    spec = request.spec.model_copy(update={"architecture": request.recipe.architecture})
    classes, state = len(spec.classes), _Wide(len(spec.classes))
    blank = torch.zeros(1, spec.preprocessing.channels, *spec.preprocessing.size)
    try:
        with torch.inference_mode():
            shape = tuple(fresh_network(spec, state, 0).eval()(blank).shape)
    except RuntimeError as error:
        raise UserError(f"The recipe's architecture cannot take the model's images: {error}.") from error
    if shape != (1, classes):
        said = f"{shape[-1]:,} outputs" if len(shape) == 2 else f"an output of shape {shape}"
        raise UserError(f"The recipe's architecture gives {said} for an image; the model knows {classes:,} classes.")
    return spec, state


def fresh_network(spec: ModelSpec, state: Mapping[str, Tensor], seed: int) -> nn.Module:
    """The architecture with new random weights and as many outputs as `state` has; the same seed, the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(spec, state).float()


def settings_of(recipe: Recipe) -> TrainingSettings:
    """A recipe as the trainer takes it; the seed and the architecture go their own way."""
    return TrainingSettings(**recipe.model_dump(exclude={"seed", "architecture"}))


def _settings(request: TrainRequest, place: int) -> TrainingSettings:
    settings = settings_of(request.recipe)
    return replace(settings, noise=request.noise[place]) if request.noise else settings


def _fit(
    network: nn.Module,
    rows: Rows,
    chosen: Tensor,
    settings: TrainingSettings,
    seed: int,
    device: torch.device,
    said: Callable[[float], None],
) -> None:
    try:
        for epoch, _ in enumerate(train(network, rows, chosen, settings, seed, device), start=1):
            said(epoch / settings.epochs)
    except FloatingPointError as error:
        raise UserError(f"Training by the recipe diverges: {error} A smaller learning rate may help.") from error
    except ValueError as error:
        raise UserError(f"The recipe cannot train this network on {len(chosen):,} images: {error}") from error


def _rows(folder: Path, labels: Path, steps: Preprocessing) -> Rows:
    pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    readable = np.load(folder / "readable.npy", allow_pickle=False)
    known = np.where(readable, np.load(labels, allow_pickle=False), -1)

    def fetch(places: Tensor) -> Tensor:
        return torch.from_numpy(pixels[places.numpy()])

    unit = (steps.scale / torch.tensor(steps.std)).float().view(-1, 1, 1)
    return Rows(fetch, torch.from_numpy(known), lambda batch: to_input(batch, steps), unit)


@torch.no_grad()
def _measured(network: nn.Module, targets: Rows, request: TrainRequest, noise: float, device: torch.device) -> Arrays:
    """What the kind's function says of a trained network."""
    assert request.measures is not None
    steps, asked = request.spec.preprocessing, request.measures
    pixels = targets.fetch(torch.arange(len(targets.labels))).permute(0, 3, 1, 2)

    def forward(images: Tensor) -> Tensor:
        logits: Tensor = network(normalised(images, steps)).float()
        return logits

    given = TrainedNetwork(
        forward=forward,
        images=(pixels.float() / 255).contiguous().to(device),
        labels=targets.labels.numpy(),
        rows=np.array(asked.rows, np.int64),
        noise=noise,
        params=asked.params,
        seed=asked.seed,
        progress=lambda _share: None,
    )
    module, _, name = asked.function.partition(":")
    found: Arrays = getattr(importlib.import_module(module), name)(given)
    return found


def _save_measured(folder: Path, measured: list[Arrays]) -> dict[str, Any]:
    described = {}
    for name in measured[0] if measured else ():
        joined = np.stack([arrays[name] for arrays in measured])
        np.save(folder / f"{MEASURED}{name}.npy", joined)
        described[name] = [list(joined.shape), str(joined.dtype)]
    return described


def _save(folder: Path, found: list[tuple[Outputs, Outputs]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "margins.npy", torch.stack([targets.margins for targets, _ in found]).numpy())
    np.save(folder / "right.npy", torch.stack([targets.right for targets, _ in found]).numpy())
    np.save(folder / "own.npy", torch.stack([own.margins for _, own in found]).numpy())
