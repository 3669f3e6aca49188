"""Sketched gradients of one shard; runs in the sandboxed child that holds the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import ModelBatch, ModelShard
from app.errors import UserError
from app.numerics.attribution.factors import CannotTap
from app.numerics.attribution.outputs import doubt, margin
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.sketch import GradientSketch
from app.numerics.attribution.taps import TappedNetwork


def gradients(shard: ModelShard) -> dict[str, NDArray[Any]]:
    """Features of every row at every checkpoint c.

    Returns:
        `codes-c` int8 [n, k] and `scales-c` float32 [n]: the sketched gradient of the margin (see `quantise`);
        `doubt-c` float32 [n], 1 − p_y. A row without a label is taken at its predicted class.
        `coverage` float32 [n]: share of the parameters that the features speak of.
    """
    first = next(iter(shard.batches()))
    try:
        tapped = [TappedNetwork(graph, first.images[:1]) for graph in shard.networks]
    except CannotTap as error:
        raise UserError(str(error)) from error
    size = int(shard.params["features"])
    sketches = [GradientSketch(network.taps, size, shard.seed, c) for c, network in enumerate(tapped)]
    found: dict[str, list[Tensor]] = {}
    for batch in shard.batches():
        for c, (network, sketch) in enumerate(zip(tapped, sketches, strict=True)):
            for name, part in _batch(network, sketch, batch).items():
                found.setdefault(f"{name}-{c}", []).append(part.cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()} | _coverage(tapped, shard.rows)


def _batch(network: TappedNetwork, sketch: GradientSketch, batch: ModelBatch) -> dict[str, Tensor]:
    chosen: list[Tensor] = []

    def output(logits: Tensor) -> Tensor:
        chosen.append(torch.where(batch.labels >= 0, batch.labels, logits.argmax(dim=1)))
        return margin(logits, chosen[0])

    logits, factors = network.factors(batch.images, output)
    codes, scales = quantise(sketch.features(factors))
    return {"codes": codes, "scales": scales, "doubt": doubt(logits, chosen[0])}


def _coverage(tapped: list[TappedNetwork], rows: int) -> dict[str, NDArray[Any]]:
    """Share of the parameters that the features speak of, the same for every row."""
    share = min(network.tapped_share for network in tapped)
    return {"coverage": np.full(rows, share, np.float32)}
