"""Sketched gradients of one shard; runs in the sandboxed child that holds the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import ModelBatch, ModelShard
from app.errors import UserError
from app.numerics.attribution.factors import Factors
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

    Raises:
        CannotTap: no weight of the network can be followed.
        FloatingPointError: something is not finite; names the checkpoint.
    """
    first = next(iter(shard.batches()))
    tapped = []
    for c, graph in enumerate(shard.networks):
        with named_checkpoint(c, shard):
            tapped.append(TappedNetwork(graph, first.images[:1]))
    size = int(shard.params["features"])
    sketches = [GradientSketch(network.taps, size, shard.seed, c) for c, network in enumerate(tapped)]
    found: dict[str, list[Tensor]] = {}
    for batch in shard.batches():
        for c, (network, sketch) in enumerate(zip(tapped, sketches, strict=True)):
            with named_checkpoint(c, shard):
                parts = _batch(network, sketch, batch)
            for name, part in parts.items():
                found.setdefault(f"{name}-{c}", []).append(part.cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()} | _coverage(tapped, shard.rows)


@contextmanager
def named_checkpoint(c: int, shard: ModelShard) -> Iterator[None]:
    """Say at which checkpoint a number was not finite."""
    try:
        yield
    except FloatingPointError as error:
        raise FloatingPointError(f"Checkpoint {c + 1} of {len(shard.networks)}: {error}") from error


def margin_factors(network: TappedNetwork, batch: ModelBatch) -> tuple[list[Factors], Tensor]:
    """Factors of the margin and 1 − p_y, float32 [b]; a row without a label is taken at its predicted class."""
    chosen: list[Tensor] = []

    def output(logits: Tensor) -> Tensor:
        _require_known(batch.labels, logits.shape[1])
        chosen.append(torch.where(batch.labels >= 0, batch.labels, logits.argmax(dim=1)))
        return margin(logits, chosen[0])

    logits, factors = network.factors(batch.images, output)
    return factors, doubt(logits, chosen[0])


def _require_known(labels: Tensor, classes: int) -> None:
    if int(labels.max()) >= classes:
        raise UserError(
            f"An image has the label number {int(labels.max())}, but the network has {classes} outputs (0 to "
            f"{classes - 1}). Name one class for each output, in their order, and label images with these."
        )


def _batch(network: TappedNetwork, sketch: GradientSketch, batch: ModelBatch) -> dict[str, Tensor]:
    factors, doubts = margin_factors(network, batch)
    codes, scales = quantise(sketch.features(factors))
    return {"codes": codes, "scales": scales, "doubt": doubts}


def _coverage(tapped: list[TappedNetwork], rows: int) -> dict[str, NDArray[Any]]:
    """Share of the parameters that the features speak of, the same for every row."""
    share = min(network.tapped_share for network in tapped)
    return {"coverage": np.full(rows, share, np.float32)}
