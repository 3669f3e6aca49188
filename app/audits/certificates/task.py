"""What the steps of a shard share: its images, what is known of them, and what the steps cost. Torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.certificates.budgets import Effort
from app.audits.certificates.evidence import Evidence
from app.audits.certificates.schema import COSTS, STEPS
from app.audits.changed import Kept
from app.audits.pixels import PixelNetwork
from app.numerics.attacks.ensemble import UNBROKEN, Attack, Verdict, ensemble
from app.numerics.attacks.region import Ball


class Counted:
    """A network that counts the images it is shown, three times where a gradient follows."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self._forward, self.passes = forward, 0

    def __call__(self, images: Tensor) -> Tensor:
        """Pixels → logits."""
        self.passes += len(images) * (3 if images.requires_grad else 1)
        return self._forward(images)


@dataclass
class Task:
    """The images of a shard."""

    network: PixelNetwork
    images: Tensor
    """float32 [n, c, h, w] in [0, 1]."""
    labels: Tensor
    """int64 [n]."""
    rows: NDArray[np.int64]
    """[n], of the data set."""
    radii: list[float]
    """By rising value."""
    effort: Effort
    seed: int
    progress: Callable[[float], None]
    """Told the share of the shard that is done."""
    evidence: Evidence = field(init=False)
    margin: NDArray[np.float32] = field(init=False)
    """[n, 1 + k]: label's logit less the largest other, of the image and of what broke it at each ε; else NaN."""
    taken: NDArray[np.int32] = field(init=False)
    """[n, 1 + k]: predicted class there; −1 where nothing broke it."""
    certified: NDArray[np.float32] = field(init=False)
    """[n]: proven radius, rounded down; 0 where nothing was proven, NaN where it was not looked for."""
    costs: NDArray[np.float64] = field(init=False)
    """[steps + 1, 3], see `COSTS`; the last of the search for proven radii."""
    kept: Kept = field(default_factory=Kept)
    phase: tuple[int, int] = (0, 1)
    """Which phase of the shard's work this is, of how many."""

    def __post_init__(self) -> None:
        rows, radii = len(self.rows), len(self.radii)
        self.evidence = Evidence.nothing(rows, radii)
        self.margin = np.full((rows, 1 + radii), np.nan, np.float32)
        self.taken = np.full((rows, 1 + radii), -1, np.int32)
        self.certified = np.full(rows, np.nan, np.float32)
        self.costs = np.zeros((len(STEPS) + 1, len(COSTS)))

    def tell(self, share: float) -> None:
        """Say how much of this phase is done."""
        self.progress((self.phase[0] + share) / self.phase[1])

    @contextmanager
    def spending(self, step: int, asked: int) -> Iterator[Counted]:
        """Count what is done inside for a step; the network to use there is given."""
        network, began = Counted(self.network.forward), time.monotonic()
        yield network
        self.costs[step] += asked, network.passes, time.monotonic() - began

    def attacked(self, places: NDArray[np.int64], column: int, attacks: Sequence[Attack], first: int) -> None:
        """Run attacks on images at an ε, each on what withstood the ones before; they are the steps from `first` on."""
        for number, attack in enumerate(attacks):
            if not len(places):
                return
            with self.spending(first + number, len(places)) as network:
                verdict = self._verdict(network, places, Ball("Linf", self.radii[column]), attack)
            places = places[self.found(places, column, verdict, first + number)]
            self.tell((column + (number + 1) / len(attacks)) / len(self.radii))

    def _verdict(self, network: Counted, places: NDArray[np.int64], ball: Ball, attack: Attack) -> Verdict:
        at = torch.from_numpy(places).to(self.images.device)
        return ensemble(
            network, self.images[at], self.labels[at], ball, [attack],
            keys=torch.from_numpy(self.rows[places]), seed=self.seed, batch_size=len(places),
        )  # fmt: skip

    def found(self, places: NDArray[np.int64], column: int, verdict: Verdict, step: int) -> NDArray[np.bool_]:
        """Note what broke at an ε; return bool [n], which images withstood."""
        broken = (verdict.broken_by != UNBROKEN).cpu().numpy()
        hit = places[broken]
        self.evidence.found[hit, column] = step
        self.margin[hit, column + 1 :] = verdict.margin.cpu().numpy()[broken, None]
        self.taken[hit, column + 1 :] = verdict.taken.cpu().numpy()[broken, None]
        which = torch.from_numpy(broken).to(self.images.device)
        there = torch.from_numpy(hit).to(self.images.device)
        self.kept.offer(
            self.rows[hit], column + 1, self.images[there], verdict.images[which], verdict.margin[which].cpu().numpy()
        )
        return ~broken
