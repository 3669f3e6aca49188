"""Double masking: a defended prediction for any classifier, and the proof that no patch turns it.

Source: Xiang, Mahloujifar and Mittal, "PatchCleanser", 2022, algorithm 1 and theorem 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Job = tuple[int, int, int]
"""An image and two masks, which may be the same."""


@dataclass(frozen=True)
class Masked:
    """Images under masks, and the network that is asked about them."""

    network: Callable[[Tensor], Tensor]
    """float32 [b, c, h, w] → logits [b, C]."""
    images: Tensor
    """float32 [n, c, h, w]."""
    masks: Tensor
    """bool [K, h, w], true where pixels are hidden; see `masks.covering`."""
    fill: Tensor
    """float32 [c], what hidden pixels become."""
    batch_size: int

    @torch.no_grad()
    def logits(self, jobs: Sequence[Job]) -> Tensor:
        """Logits [jobs, C] on the CPU."""
        found, colour = [], self.fill.to(self.images)[:, None, None]
        masks = self.masks.to(self.images.device)
        for part in torch.split(torch.tensor(jobs, device=self.images.device), self.batch_size):
            image, first, second = part.unbind(1)
            hidden = (masks[first] | masks[second])[:, None]
            found.append(self.network(torch.where(hidden, colour, self.images[image])).float().cpu())
        return torch.cat(found)

    def answers(self, jobs: Sequence[Job]) -> NDArray[np.int64]:
        """Predicted classes int64 [jobs]."""
        found: NDArray[np.int64] = self.logits(jobs).argmax(1).numpy()
        return found


def one_mask(masked: Masked, labels: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first round: classes int64 [n, K] under each mask, and the label's lead over the other classes there."""
    n, k = len(masked.images), len(masked.masks)
    logits = masked.logits([(i, a, a) for i in range(n) for a in range(k)])
    own = labels.cpu().repeat_interleave(k)[:, None]
    lead = logits.gather(1, own)[:, 0] - logits.scatter(1, own, -torch.inf).amax(1)
    return logits.argmax(1).view(n, k).numpy(), lead.view(n, k).numpy()


def safe_masks(
    masked: Masked,
    labels: NDArray[np.int64],
    first: NDArray[np.int64],
    lead: NDArray[np.float32],
    whole: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Masks with which the label is predicted whatever second mask is added: bool [n, K].

    An image all of whose masks are safe is certified: the defended prediction is the label for every patch that a mask
    covers. A patch that lies under one safe mask cannot turn it either: under that mask the label is unanimous, and in
    the second round of any other answer that mask brings the label back.

    Pairs are asked once, the least sure masks first, and an image ends with its first disagreement, after which not
    all of its masks are known; where `whole` bool [n], every mask is followed to its end.

    Args:
        labels: [n]; first, lead: what `one_mask` returned.
    """
    safe: NDArray[np.bool_] = first == labels[:, None]
    waiting = [_pairs(row) for row in lead]
    while jobs := _next(waiting, safe, whole, masked.batch_size):
        answers = masked.answers(jobs)
        for (image, a, b), answer in zip(jobs, answers.tolist(), strict=True):
            if answer != labels[image]:
                safe[image, [a, b]] = False
    return safe


def _pairs(lead: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs of masks, last first to be asked: those under which the label leads least."""
    a, b = np.triu_indices(len(lead), 1)
    order = np.argsort(-(lead[a] + lead[b]), kind="stable")
    return list(zip(a[order].tolist(), b[order].tolist(), strict=True))


def _next(
    waiting: list[list[tuple[int, int]]], safe: NDArray[np.bool_], whole: NDArray[np.bool_], most: int
) -> list[Job]:
    """Pairs that still matter, about as many as the network is shown at once, evenly over the images."""
    going = [i for i in range(len(safe)) if waiting[i] and (safe[i].any() if whole[i] else safe[i].all())]
    jobs: list[Job] = []
    for image in going:
        share, pairs = max(1, most // len(going)), waiting[image]
        while pairs and share:
            a, b = pairs.pop()
            if safe[image, a] or safe[image, b]:
                jobs.append((image, a, b))
                share -= 1
    return jobs


def defended(masked: Masked, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Double masking's prediction, int64 [n]: the class that all masks agree on; else the first dissenting answer that
    no second mask changes; else the majority, the smaller class where classes are equal.

    Args:
        first: what `one_mask` returned.
    """
    majority = np.array([np.bincount(row).argmax() for row in first], np.int64)
    dissent = [(i, a) for i, row in enumerate(first) for a in np.flatnonzero(row != majority[i]).tolist()]
    held = _unanimous(masked, first, dissent)
    found = majority.copy()
    for image, mask in reversed(dissent):
        if held[image, mask]:
            found[image] = first[image, mask]
    return found


def _unanimous(masked: Masked, first: NDArray[np.int64], dissent: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Of dissenting answers [n, K]: whether every second mask leaves them; each ends with its first change."""
    held = np.zeros(first.shape, bool)
    held[tuple(np.array(dissent, np.int64).reshape(-1, 2).T)] = True
    # A mask that answered otherwise alone is the likeliest to change the answer.
    rest = {(i, a): np.argsort(first[i] != first[i, a], kind="stable").tolist() for i, a in dissent}
    while jobs := _second(rest, held, masked.batch_size):
        for (image, a, _), answer in zip(jobs, masked.answers(jobs).tolist(), strict=True):
            held[image, a] &= answer == first[image, a]
    return held


def _second(rest: dict[tuple[int, int], list[int]], held: NDArray[np.bool_], most: int) -> list[Job]:
    going = [place for place, masks in rest.items() if masks and held[place]]
    jobs: list[Job] = []
    for place in going:
        for _ in range(min(len(rest[place]), max(1, most // len(going)))):
            jobs.append((*place, rest[place].pop()))
    return jobs
