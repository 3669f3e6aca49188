"""Attacks a shard's images; runs in the sandboxed child."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.attacks.arsenal import arsenal
from app.audits.attacks.budgets import EFFORTS, sampled
from app.audits.attacks.proofs import Proofs
from app.audits.attacks.schema import ARRAYS, NAMES, PROVEN, SIGNS, UNBROKEN, WRONG
from app.audits.attacks.signs import right_otherwise, signs_of
from app.audits.changed import Kept
from app.audits.epsilon import radius
from app.audits.pixels import PixelBatch, PixelNetwork, PixelShard
from app.audits.texts import lines
from app.errors import UserError
from app.numerics.attacks.ensemble import Attack, Verdict, ensemble
from app.numerics.attacks.region import Ball


def measure(shard: PixelShard) -> dict[str, NDArray[Any]]:
    """Return, for each row that was attacked, what was found at each ε (rising); what broke an image counts for more.

    `list.row` int64 [m]: data set row. `list.outcome` int8 [m, 1 + ε]: 1 right, 0 wrong; column 0 is the clean image.
    `list.by` int8 [m, ε]: place in `NAMES` of the attack that broke it, −1 none, −2 wrong when clean, −3 proven.
    `list.margin` float32 [m, 1 + ε]: the label's logit less the largest other, at the most harmful image. `list.taken`
    int32 [m, 1 + ε]: the predicted class. `list.signs` int8 [m, 4]: see `SIGNS`. `list.size`: height, width, channels.
    `list.reason` uint8 [1, 400]: why there are no gradients, in UTF-8. `list.other` uint8 [k, 400]: other
    normalisations, and `list.tried` int64 [k], how many clean images they get right. Then pictures, see `Kept`.
    """
    if shard.network is None:
        raise UserError("There is no network to attack.")
    state = _State(shard, shard.network())
    for batch in shard.pictures(state.places.tolist()):
        state.attack(batch)
    shard.progress(1.0)
    return state.arrays()


class _State:
    """The arrays of a shard, filled batch by batch."""

    def __init__(self, shard: PixelShard, network: PixelNetwork) -> None:
        self.shard, self.network, params = shard, network, shard.params
        self.balls = [Ball(params["norm"], radius(text)) for text in params["radii"]]
        self.effort = EFFORTS[params["budget"]]
        rows, columns = len(shard.labels), len(self.balls) + 1
        self.outcome = np.full((rows, columns), -1, np.int8)
        self.by = np.full((rows, columns - 1), UNBROKEN, np.int8)
        self.margin = np.zeros((rows, columns), np.float32)
        self.taken = np.full((rows, columns), -1, np.int32)
        self.signs = np.full((rows, len(SIGNS)), -1, np.int8)
        self.size = np.zeros((0, 3), np.int64)
        self.kept, self.done = Kept(), 0.0
        self.tried = np.zeros(len(network.others), np.int64)
        chosen = sampled(shard.split, shard.seed, params["budget"])
        places = np.sort(chosen[(chosen >= shard.start) & (chosen < shard.start + rows)]) - shard.start
        self.places = places[shard.labels[places] >= 0]

    def attack(self, batch: PixelBatch) -> None:
        """Attack a batch at each ε, only what withstood the smaller ones."""
        pictures = batch.pictures[:, : self.network.channels]
        self.size = np.array([[*pictures.shape[2:], pictures.shape[1]]], np.int64)
        images, rows = pictures.float() / 255, batch.places
        labels = torch.from_numpy(self.shard.labels[rows]).to(images.device)
        attacks = arsenal(self.effort, gradients=not self.network.reason)
        left = torch.arange(len(rows), device=images.device)
        proofs = Proofs(self.network, images, labels, self.effort)
        for column, ball in enumerate(self.balls, 1):
            prove = partial(_proven, proofs, left, ball)
            verdict = self._run(images[left], labels[left], rows[left.cpu().numpy()], ball, attacks, prove)
            if column == 1:
                self._clean(rows, images, labels, verdict)
            self._fill(rows, left, column, verdict, attacks)
            self._offer(rows, left, column, images, verdict)
            left = left[(verdict.broken_by == UNBROKEN) | (verdict.broken_by == PROVEN)]
            self.done += len(rows) / len(self.balls)
            if not len(left):
                return

    def _run(
        self,
        images: Tensor,
        labels: Tensor,
        rows: NDArray[np.int64],
        ball: Ball,
        attacks: list[Attack],
        prove: Callable[[Tensor], Tensor],
    ) -> Verdict:
        keys = torch.from_numpy(rows + self.shard.start)
        return ensemble(
            self.network.forward, images, labels, ball, attacks,
            keys=keys, seed=self.shard.seed, batch_size=max(len(rows), 1), progress=partial(self._tell, len(rows)),
            prove=prove,
        )  # fmt: skip

    def _tell(self, rows: int, share: float) -> None:
        self.shard.progress((self.done + rows * share / len(self.balls)) / len(self.places))

    def _clean(self, rows: NDArray[np.int64], images: Tensor, labels: Tensor, verdict: Verdict) -> None:
        wrong = (verdict.broken_by == WRONG).cpu().numpy()
        with torch.no_grad():
            logits = self.network.forward(images)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        self.margin[rows, 0] = (logits.gather(1, labels[:, None])[:, 0] - others).cpu().numpy()
        self.taken[rows, 0], self.outcome[rows, 0] = logits.argmax(1).cpu().numpy(), ~wrong
        self.by[rows[wrong]], self.outcome[rows[wrong]] = WRONG, 0
        self.tried += right_otherwise(self.network, images, labels)
        self.signs[rows] = signs_of(self.network, images, labels, self.balls[0], rows + self.shard.start, ~wrong)

    def _fill(
        self, rows: NDArray[np.int64], left: Tensor, column: int, verdict: Verdict, attacks: list[Attack]
    ) -> None:
        """Write this ε and, for what is broken, the larger ones: their balls hold the same image."""
        here = rows[left.cpu().numpy()]
        by = np.array([*(NAMES.index(attack.name) for attack in attacks), PROVEN, WRONG, UNBROKEN], np.int8)
        found = by[verdict.broken_by.cpu().numpy()]
        self.by[here, column - 1 :] = found[:, None]
        self.outcome[here, column:] = np.isin(found, (UNBROKEN, PROVEN))[:, None]
        self.margin[here, column:] = verdict.margin.cpu().numpy()[:, None]
        self.taken[here, column:] = verdict.taken.cpu().numpy()[:, None]

    def _offer(self, rows: NDArray[np.int64], left: Tensor, column: int, images: Tensor, verdict: Verdict) -> None:
        broken = verdict.broken_by >= 0
        there = left[broken]
        self.kept.offer(
            rows[there.cpu().numpy()] + self.shard.start, column, images[there], verdict.images[broken],
            verdict.margin[broken].cpu().numpy(),
        )  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, by name."""
        asked = np.flatnonzero(self.outcome[:, 0] >= 0)
        found = {f"list.{name}": getattr(self, name)[asked] for name in ARRAYS}
        some = bool(len(asked))
        return {
            "list.row": asked + self.shard.start,
            **found,
            "list.size": self.size,
            "list.reason": lines([self.network.reason] * some),
            "list.other": lines(list(self.network.others) * some),
            "list.tried": self.tried[: len(self.tried) * some],
            **self.kept.arrays(),
        }


def _proven(proofs: Proofs, left: Tensor, ball: Ball, places: Tensor) -> Tensor:
    return proofs.prove(left[places], ball)
