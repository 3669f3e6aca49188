"""A network and its normalisation as one function of pixels in [0, 1], differentiable where the format allows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from app.audits.pixels import PixelNetwork
from app.loaders.models.alternatives import normalisations
from app.loaders.models.formats.safetensors import read_network
from app.loaders.models.model_shard import cached_graphs
from app.loaders.models.no_gradients import NoGradients
from app.loaders.models.runtime import LoadedModel
from app.loaders.models.spec import ModelSpec, Preprocessing

Network = Callable[[Tensor], Tensor]


def pixel_network(file: Path, spec: ModelSpec, model: LoadedModel) -> PixelNetwork:
    """Look into a checkpoint; `model` is the same one, for predictions where it gives no gradients."""
    steps, why = spec.preprocessing, ""
    try:
        run: Network = cached_graphs([file], spec, model.device)[-1]
    except NoGradients as error:
        run, why = partial(_predicted, model), error.message
    return PixelNetwork(
        forward=_on_pixels(run, steps),
        channels=steps.channels,
        reason=why,
        probabilities=spec.outputs == "probabilities",
        others={name: _on_pixels(run, other) for name, other in normalisations(steps)},
        mean=_mean(steps),
        module=partial(_module, file, spec, model.device) if spec.format == "safetensors" else None,
    )


def _mean(steps: Preprocessing) -> tuple[float, ...]:
    mean = steps.mean[::-1] if steps.colour_order == "BGR" else steps.mean
    return tuple(min(max(value / steps.scale, 0.0), 1.0) for value in mean)


def _module(file: Path, spec: ModelSpec, device: torch.device) -> tuple[nn.Module, Network]:
    network = read_network(file, spec).requires_grad_(False).to(device)
    return network, partial(normalised, steps=spec.preprocessing)


def _on_pixels(run: Network, steps: Preprocessing) -> Network:
    return lambda pixels: run(normalised(pixels, steps))


def normalised(pixels: Tensor, steps: Preprocessing) -> Tensor:
    """Pixels float32 [n, channels, height, width] in [0, 1] as the network takes them.

    The same as `preprocess.to_input` of the bytes, to rounding, and differentiable.
    """
    if steps.colour_order == "BGR" and steps.channels == 3:
        pixels = pixels.flip(1)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (steps.mean, steps.std))
    factor, offset = (steps.scale / std).to(pixels), (mean / std).to(pixels)
    return (pixels * factor - offset).contiguous()


def _predicted(model: LoadedModel, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits = model.predict(images)[0]
    return logits.clone().to(images.device)
