"""EK-FAC features of the last checkpoint; runs in the sandboxed child that holds the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import ModelShard
from app.audits.influence.gradients import margin_factors
from app.numerics.attribution.coordinates import Kept, choose_coordinates, whitened
from app.numerics.attribution.ekfac import Curvature, estimate_curvature
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.attribution.weights import weights

WHOLE = ("share", "diagonal", "rows")


def fit(shard: ModelShard) -> dict[str, NDArray[Any]]:
    """The curvature of each weight i on a sample of training images, and the coordinates that features keep.

    Returns:
        `places-i` int64 [c] and `scales-i` float32 [c], with `left-i` and `right-i` where there is an eigenbasis
        (see `Kept`); float32 [1] each: `share` of the scores' variance that is kept, `diagonal`, share of the tapped
        numbers whose curvature is diagonal, and `rows`, the images that the curvature was fitted on.

    Raises:
        CannotTap: no weight of the network can be followed.
        ValueError: no image could be read.
    """
    network, used = _tapped(shard), set[int]()

    def batches() -> Iterator[tuple[list[int], Tensor]]:
        for batch in shard.batches():
            readable = batch.labels >= 0
            if readable.any():
                rows = batch.start + readable.nonzero()[:, 0]
                used.update(rows.tolist())
                yield rows.tolist(), batch.images[readable]

    curvature = estimate_curvature(network, batches, shard.seed)
    choice = choose_coordinates(curvature, int(shard.params["features"]))
    found = {name: part for i, kept in enumerate(choice.weights) for name, part in _arrays(kept, i).items()}
    whole = {"share": choice.share, "diagonal": _diagonal(curvature), "rows": len(used)}
    return found | {name: np.array([value], np.float32) for name, value in whole.items()}


def features(shard: ModelShard) -> dict[str, NDArray[Any]]:
    """Whitened gradients of every row.

    Returns:
        `codes` int8 [n, k] and `scales` float32 [n]: the margin's gradient (see `whitened` and `quantise`); `doubt`
        float32 [n], 1 − p_y. A row without a label is taken at its predicted class. `share`, `diagonal` and `rows`
        float32 [n] as `fit` returned them, the same for every row.
    """
    network, kept = _tapped(shard), list[Kept]()
    found: dict[str, list[Tensor]] = {}
    for batch in shard.batches():
        kept = kept or [_kept(shard.fitted, i, batch.images.device) for i in range(len(weights(network.taps)))]
        factors, doubts = margin_factors(network, batch)
        codes, scales = quantise(whitened(network.taps, factors, kept))
        for name, part in (("codes", codes), ("scales", scales), ("doubt", doubts)):
            found.setdefault(name, []).append(part.cpu())
    whole = {name: np.repeat(shard.fitted[name], shard.rows) for name in WHOLE}
    return {name: torch.cat(parts).numpy() for name, parts in found.items()} | whole


def _tapped(shard: ModelShard) -> TappedNetwork:
    first = next(iter(shard.batches()))
    return TappedNetwork(shard.networks[-1], first.images[:1])


def _arrays(kept: Kept, i: int) -> dict[str, NDArray[Any]]:
    found = {name: part for name, part in kept._asdict().items() if part is not None}
    return {f"{name}-{i}": part.cpu().numpy() for name, part in found.items()}


def _kept(fitted: Mapping[str, NDArray[Any]], i: int, device: torch.device) -> Kept:
    left, right = (
        torch.from_numpy(fitted[f"{name}-{i}"]).to(device) if f"{name}-{i}" in fitted else None
        for name in ("left", "right")
    )
    places, scales = (torch.from_numpy(fitted[f"{name}-{i}"]).to(device) for name in ("places", "scales"))
    return Kept(left, right, places, scales)


def _diagonal(curvature: list[Curvature]) -> float:
    sizes = [layer.values.numel() for layer in curvature]
    return sum(n for n, layer in zip(sizes, curvature, strict=True) if layer.basis is None) / max(sum(sizes), 1)
