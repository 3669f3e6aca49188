"""A network and its normalisation as one function of pixels in [0, 1], differentiable where the format allows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, fx

from app.audits.pixels import NotProvable, PixelNetwork
from app.loaders.models.alternatives import normalisations
from app.loaders.models.model_shard import cached_graphs
from app.loaders.models.no_gradients import NoGradients
from app.loaders.models.provable import network_program
from app.loaders.models.runtime import LoadedModel
from app.loaders.models.spec import ModelSpec, Preprocessing
from app.numerics.bounds.program import Program

Network = Callable[[Tensor], Tensor]
_STRIDED = (torch.ops.aten.as_strided.default, torch.ops.aten.view.default)
"""Operations whose result hangs on the order of memory."""


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
        program=partial(_program, run, steps, why),
        others={name: _on_pixels(run, other) for name, other in normalisations(steps)},
    )


def _program(run: Network, steps: Preprocessing, why: str) -> Program:
    if not isinstance(run, fx.GraphModule):
        raise NotProvable(f"Nothing can be proven of this network, whose layers cannot be looked into. {why}")
    # Proofs hold for float32; a GPU's convolutions would round to TF32, of which the bounds know nothing.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return network_program(run, steps, _on_pixels(run, steps))


def _on_pixels(run: Network, steps: Preprocessing) -> Network:
    any_order = isinstance(run, fx.GraphModule) and not any(node.target in _STRIDED for node in run.graph.nodes)

    def forward(pixels: Tensor) -> Tensor:
        images = normalised(pixels, steps)
        # On a CPU, convolutions without gradients take up to 2.5 times as long with channels first.
        if any_order and images.device.type == "cpu" and not images.requires_grad:
            images = images.contiguous(memory_format=torch.channels_last)
        return run(images)

    return forward


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
