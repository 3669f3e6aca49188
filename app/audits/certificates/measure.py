"""Proves and breaks a shard's images; runs in the sandboxed child."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.certificates.attacking import ask_clean, attack_cheaply, attack_undecided
from app.audits.certificates.budgets import EFFORTS, chosen
from app.audits.certificates.follow import Followed, follow
from app.audits.certificates.proving import prove_by_bounds
from app.audits.certificates.radius import find_radii
from app.audits.certificates.schema import EVIDENCE
from app.audits.certificates.task import Task
from app.audits.certificates.verifying import verify
from app.audits.epsilon import radius
from app.audits.pixels import PixelNetwork, PixelShard
from app.audits.texts import lines
from app.errors import UserError


def measure(shard: PixelShard) -> dict[str, NDArray[Any]]:
    """Return, for each row that was drawn, what is known at each ε (rising).

    `list.row` int64 [m]: data set row. `list.right`, `list.found`, `list.bounds`, `list.complete`: see `Evidence`.
    `list.margin` float32 and `list.taken` int32 [m, 1 + ε]: see `Task`. `list.radius` float32 [m]: proven radius.
    `list.differs` float32 [m]: how far the logits of the network as proofs read it are from its own. `list.cost`
    float64 [1, steps + 1, 3]: see `COSTS`. `list.why` uint8 [1, 4, 400], UTF-8: why nothing can be proven, why
    there are no gradients, which proofs were left out, why nothing was verified. `list.probabilities` int8 [1]. Then
    pictures, see `Kept`.
    """
    if shard.network is None:
        raise UserError("There is no network to prove anything of.")
    network = shard.network()
    images, places = _images(shard, network)
    task = _task(shard, network, images, places)
    followed = follow(task)
    phases = _phases(task, followed) if len(places) else []
    for number, phase in enumerate(phases):
        task.phase = (number, len(phases))
        phase(task)
    shard.progress(1.0)
    return _arrays(task, followed)


def _images(shard: PixelShard, network: PixelNetwork) -> tuple[Tensor, NDArray[np.int64]]:
    """The drawn images of the shard that have a label and can be read, float in [0, 1], and their places."""
    rows = chosen(shard.split, shard.seed, shard.params)
    places = np.sort(rows[(rows >= shard.start) & (rows < shard.start + len(shard.labels))]) - shard.start
    batches = list(shard.pictures(places[shard.labels[places] >= 0].tolist()))
    if not batches:
        return torch.zeros(0, network.channels, 1, 1), np.zeros(0, np.int64)
    images = torch.cat([batch.pictures[:, : network.channels] for batch in batches]).float() / 255
    return images, np.concatenate([batch.places for batch in batches])


def _task(shard: PixelShard, network: PixelNetwork, images: Tensor, places: NDArray[np.int64]) -> Task:
    return Task(
        network=network,
        images=images,
        labels=torch.from_numpy(shard.labels[places]).to(images.device),
        rows=places + shard.start,
        radii=[radius(text) for text in shard.params["radii"]],
        effort=EFFORTS[shard.params["budget"]],
        seed=shard.seed,
        progress=shard.progress,
    )


def _phases(task: Task, followed: Followed) -> list[Callable[[Task], None]]:
    """What is done, in order: the cheap before the dear."""
    phases: list[Callable[[Task], None]] = [ask_clean, attack_cheaply]
    if followed.program:
        phases.append(partial(prove_by_bounds, program=followed.program, dear=followed.dear))
        if task.effort.complete and not followed.no_verifier:
            phases.append(partial(verify, program=followed.program))
    phases.append(attack_undecided)
    if followed.program and followed.searched:
        phases.append(partial(find_radii, program=followed.program, dear=followed.dear))
    return phases


def _arrays(task: Task, followed: Followed) -> dict[str, NDArray[Any]]:
    return {
        "list.row": task.rows,
        **{f"list.{name}": getattr(task.evidence, name) for name in EVIDENCE},
        "list.margin": task.margin,
        "list.taken": task.taken,
        "list.radius": task.certified,
        "list.differs": followed.differs,
        "list.cost": task.costs[None],
        "list.why": lines([followed.reason, task.network.reason, followed.left_out, followed.no_verifier])[None],
        "list.probabilities": np.array([task.network.probabilities], np.int8),
        **task.kept.arrays(),
    }
