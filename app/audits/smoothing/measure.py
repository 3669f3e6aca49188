"""Certifies a shard's images; runs in the sandboxed child."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.drawn import drawn
from app.audits.pixels import PixelShard
from app.audits.retraining import TrainedNetwork
from app.audits.smoothing.budgets import EFFORTS
from app.audits.smoothing.schema import amount
from app.errors import UserError
from app.numerics.smoothing.certify import Answer, Certificate, ask, certify
from app.numerics.smoothing.copies import Copies, run_tasks
from app.numerics.smoothing.evidence import CERTIFIED, REFUTED

_CLEAN = 64


def measure(shard: PixelShard) -> dict[str, NDArray[Any]]:
    """Return `list.row` int64 [m], data set rows, and what `judged` says under each σ, [m, σ, …], as `list.<name>`."""
    if shard.network is None:
        raise UserError("There is no network to show noisy copies to.")
    places = _places(shard)
    batches = list(shard.pictures(places.tolist()))
    kept = np.concatenate([batch.places for batch in batches]) if batches else np.zeros(0, np.int64)
    network, sigmas = shard.network(), [amount(text) for text in shard.params["sigmas"]]
    pixels = [batch.pictures[:, : network.channels] for batch in batches]
    images = torch.cat(pixels).float() / 255 if pixels else torch.zeros(0, network.channels, 1, 1)
    found = []
    for number, sigma in enumerate(sigmas):

        def told(share: float, number: int = number) -> None:
            shard.progress((number + share) / len(sigmas))

        rows = (kept + shard.start).tolist()
        found.append(judged(network.forward, images, shard.labels[kept], rows, sigma, shard.params, shard.seed, told))
    shard.progress(1.0)
    return {
        "list.row": kept + shard.start,
        **{f"list.{name}": np.stack([one[name] for one in found], axis=1) for name in found[0]},
    }


def measure_copy(copy: TrainedNetwork) -> dict[str, NDArray[Any]]:
    """What `judged` says of a copy under the noise that it was trained with."""
    return judged(
        copy.forward, copy.images, copy.labels, copy.rows.tolist(), copy.noise, copy.params, copy.seed, copy.progress
    )


def _places(shard: PixelShard) -> NDArray[np.int64]:
    rows = drawn(shard.split, shard.seed, EFFORTS[shard.params["budget"]].rows)
    places = np.sort(rows[(rows >= shard.start) & (rows < shard.start + len(shard.labels))]) - shard.start
    chosen: NDArray[np.int64] = places[shard.labels[places] >= 0]
    return chosen


def judged(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: NDArray[np.int64],
    rows: Sequence[int],
    sigma: float,
    params: Mapping[str, Any],
    seed: int,
    progress: Callable[[float], None],
) -> dict[str, NDArray[Any]]:
    """What smoothing with `sigma` says of each image.

    Args:
        forward: pixels in [0, 1] → logits.
        images: float32 [m, channels, height, width] in [0, 1].
        labels: int64 [m].
        rows: data set rows, which the noise depends on.
        params: `radii`, `alpha` and `budget`.

    Returns:
        `base` int32 [m], the class without noise; `taken` int32 [m], the smoothed class; `radius` float32 [m], NaN
        where it abstains (of a quick audit the largest asked radius that is certified, 0 where none is); `decided`
        int8 [m, 1 + radii] at radius 0 and those asked, see `app.numerics.smoothing.evidence`; `hits` int32 [m];
        `used` int32 [m], copies; `noisy` float32 [m], share of the first copies taken for the label.
    """
    effort, alpha = EFFORTS[params["budget"]], float(params["alpha"])
    radii = [0.0, *(amount(text) for text in params["radii"])]
    copies = Copies(forward, images, rows, sigma, seed)
    found: Sequence[Answer | Certificate]
    if effort.asks:
        found = run_tasks(copies, [ask(sigma, radii, alpha, effort.first, effort.copies) for _ in rows], progress)
    else:
        found = run_tasks(copies, [certify(sigma, alpha, effort.first, effort.copies) for _ in rows], progress)
    return {
        "base": _clean(forward, images),
        "taken": np.array([one.taken for one in found], np.int32),
        **_radii(found, radii),
        "hits": np.array([one.hits for one in found], np.int32),
        "used": np.array([one.used for one in found], np.int32),
        "noisy": np.array([(one.first == y).mean() for one, y in zip(found, labels, strict=True)], np.float32),
    }


def _radii(found: Sequence[Answer | Certificate], radii: Sequence[float]) -> dict[str, NDArray[Any]]:
    """The radius of each image, and whether each radius that was asked is certified."""
    asked = np.array(radii)
    radius, decided = np.full(len(found), np.nan, np.float32), np.zeros((len(found), len(asked)), np.int8)
    for place, one in enumerate(found):
        if isinstance(one, Certificate):
            radius[place] = one.radius
            decided[place] = np.where(one.radius > asked, CERTIFIED, REFUTED)
        else:
            decided[place] = one.decided
            if (one.decided == CERTIFIED).any():
                radius[place] = asked[one.decided == CERTIFIED][-1]
    return {"radius": radius, "decided": decided}


@torch.no_grad()
def _clean(forward: Callable[[Tensor], Tensor], images: Tensor) -> NDArray[np.int32]:
    parts = [forward(part).argmax(1).cpu().numpy() for part in torch.split(images, _CLEAN)] if len(images) else []
    return np.concatenate([np.zeros(0), *parts]).astype(np.int32)
