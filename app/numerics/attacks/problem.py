"""What an attack is given, and what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.numerics.attacks.losses import Loss, margin
from app.numerics.attacks.region import Ball, Region

Network = Callable[[Tensor], Tensor]
_SURE = 1e-5
"""A margin below −1e-5 of the largest logit stays negative whatever batch the image is judged in."""


@dataclass(frozen=True)
class Problem:
    """Images that a network gets right, and how far they may be changed."""

    network: Network
    region: Region
    labels: Tensor
    """int64 [n]."""
    keys: Tensor
    """int64 [n], on the CPU: what names an example to the random numbers."""
    seed: int

    @staticmethod
    def of(network: Network, images: Tensor, labels: Tensor, ball: Ball, keys: Tensor, seed: int) -> Problem:
        """Return the problem of images float [n, …] in [0, 1]."""
        return Problem(network, Region.around(images, ball), labels, keys, seed)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """The images as they were, [n, …]."""
        return self.region.centre

    def take(self, rows: Tensor) -> Problem:
        """Return some examples; `rows` is an index or a mask."""
        there = rows.to(self.keys.device)
        return replace(self, region=self.region.take(rows), labels=self.labels[rows], keys=self.keys[there])


@dataclass
class Found:
    """The most harmful image that is known of each example."""

    images: Tensor
    """[n, …], inside the region."""
    margin: Tensor
    """[n]: negative where the network is wrong."""
    broken: Tensor
    """bool [n]: the network's first largest logit is another class's."""
    sure: Tensor
    """bool [n]: broken by more than rounding."""

    @staticmethod
    def nothing(problem: Problem) -> Found:
        """Return the state before anything was tried."""
        no = torch.zeros_like(problem.labels, dtype=torch.bool)
        return Found(problem.images.clone(), problem.images.new_full((len(problem),), torch.inf), no, no)

    def offer(self, rows: Tensor, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Keep what is worse for the network than what is known; return which of the `rows` are now sure to be broken.

        `rows` int64 [m] are the examples that images [m, …], logits [m, C] and labels [m] are of.
        """
        found = margin(logits, labels)
        better = found < self.margin[rows]
        chosen = rows[better]
        self.images[chosen], self.margin[chosen] = images[better], found[better].to(self.margin.dtype)
        self.broken = self.broken.index_put((chosen,), logits.argmax(1)[better] != labels[better])
        sure = found < -_SURE * logits.abs().amax(1)
        self.sure = self.sure.index_put((rows[sure],), torch.ones_like(sure[sure]))
        return self.sure[rows]

    def merge(self, rows: Tensor, other: Found) -> None:
        """Keep what another search over some examples found where it is worse for the network."""
        better = other.margin < self.margin[rows]
        chosen = rows[better]
        self.images[chosen], self.margin[chosen] = other.images[better], other.margin[better]
        self.broken = self.broken.index_put((chosen,), other.broken[better])
        self.sure = self.sure.index_put((chosen,), other.sure[better])


def ascent(problem: Problem, images: Tensor, loss: Loss, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss [n], its gradient [n, …] and the logits [n, C] at some images; what is not finite counts as zero."""
    with torch.enable_grad():
        at = images.detach().requires_grad_(True)
        logits = problem.network(at)
        losses = loss(logits, problem.labels, targets)
        if not losses.requires_grad:
            return losses.detach(), torch.zeros_like(images), logits.detach()
        (gradient,) = torch.autograd.grad(losses.sum(), at, allow_unused=True)
    gradient = torch.zeros_like(images) if gradient is None else gradient.nan_to_num(0.0, 0.0, 0.0)
    return losses.detach(), gradient, logits.detach()


@torch.no_grad()
def judged(problem: Problem, images: Tensor) -> Tensor:
    """Return the logits [n, C] of images, without gradients."""
    return problem.network(images)
