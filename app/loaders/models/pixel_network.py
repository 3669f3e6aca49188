"""A network and its normalisation as one function of pixels in [0, 1], differentiable where the format allows it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from app.audits.pixels import PixelNetwork
from app.loaders.models.model_shard import cached_graphs
from app.loaders.models.no_gradients import NoGradients
from app.loaders.models.runtime import LoadedModel
from app.loaders.models.spec import ModelSpec, Preprocessing


def pixel_network(file: Path, spec: ModelSpec, model: LoadedModel) -> PixelNetwork:
    """Look into a checkpoint; `model` is the same one, for predictions where it gives no gradients."""
    steps, declared = spec.preprocessing, spec.outputs == "probabilities"
    try:
        graph = cached_graphs([file], spec, model.device)[-1]
    except NoGradients as error:
        return PixelNetwork(lambda x: _predicted(model, x, steps), steps.channels, error.message, declared)
    return PixelNetwork(lambda x: graph(normalised(x, steps)), steps.channels, "", declared)


def normalised(pixels: Tensor, steps: Preprocessing) -> Tensor:
    """Pixels float32 [n, channels, height, width] in [0, 1] as the network takes them.

    The same as `preprocess.to_input` of the bytes, to rounding, and differentiable.
    """
    if steps.colour_order == "BGR" and steps.channels == 3:
        pixels = pixels.flip(1)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (steps.mean, steps.std))
    factor, offset = (steps.scale / std).to(pixels), (mean / std).to(pixels)
    return (pixels * factor - offset).contiguous()


def _predicted(model: LoadedModel, pixels: Tensor, steps: Preprocessing) -> Tensor:
    with torch.no_grad():
        logits = model.predict(normalised(pixels, steps))[0]
    return logits.clone().to(pixels.device)
