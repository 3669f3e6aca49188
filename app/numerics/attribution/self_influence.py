"""How much a training row leans on itself, and what its neighbours say of its label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from app.numerics.attribution.trak import Checkpoint
from app.numerics.neighbours import nearest_neighbours

_BLOCK = 4096


def self_influence(checkpoints: Sequence[Checkpoint], ridge: float) -> Tensor:
    """TRAK score of every training row for itself, float32 [N]: the diagonal of what `trak_scores` would give.

    A row that nothing else supports (mislabelled, or rare) leans on itself most.

    Args:
        checkpoints: their targets are not used.
        ridge: relative, as in `trak_scores`.

    Source: Feldman, Zhang 2020 (memorisation as self-influence); Park et al. 2023 for the estimate.
    """
    total = torch.zeros(len(checkpoints[0].train.codes))
    for point in checkpoints:
        for start in range(0, len(total), _BLOCK):
            rows = point.train.rows(start, start + _BLOCK)
            total[start : start + _BLOCK] += (rows * point.spectrum.solve(rows, ridge)).sum(dim=1)
    doubt = torch.stack([point.doubt for point in checkpoints]).mean(dim=0)
    return total / len(checkpoints) * doubt


class Votes(NamedTuple):
    """Who votes on each row's label: `indices` int64 [n, c] and `weights` float64 [n, c], 0 for rows without a vote."""

    indices: Tensor
    weights: Tensor


def neighbour_votes(features: Tensor, known: Tensor, groups: Tensor, k: int = 20) -> Votes:
    """The nearest rows of each row, itself and its duplicates left out; labels have no part in it.

    Args:
        features: float [n, d].
        known: bool [n], rows that have a label (others do not vote).
        groups: int64 [n]; rows of one group are the same picture.
        k: neighbours that vote, by cosine; a vote weighs exp(similarity / t), where t is half of what similarity falls
            from the first voter to the last, on average over rows.
    """
    found = nearest_neighbours(features, features, min(2 * k + 1, len(features)))
    usable = (groups[found.indices] != groups[:, None]) & known[found.indices]
    usable &= usable.cumsum(dim=1) <= k
    return Votes(found.indices, _weights(found.similarity.double(), usable))


def neighbour_probabilities(votes: Votes, labels: Tensor, classes: int) -> Tensor:
    """Class probabilities of each row by the labels of those who vote on it.

    Args:
        votes: of `neighbour_votes`.
        labels: int64 [n] in [0, classes), −1 where unknown.
        classes: number of classes C.

    Returns:
        float64 [n, C]; rows sum to one. A row without any voter gets the class frequencies.
    """
    found = torch.zeros(len(labels), classes, dtype=torch.float64)
    found.scatter_add_(1, labels[votes.indices].clamp(min=0), votes.weights)
    prior = torch.bincount(labels[labels >= 0], minlength=classes).double()
    found = found + 1e-3 * prior / prior.sum().clamp(min=1)
    return found / found.sum(dim=1, keepdim=True)


def _weights(similarity: Tensor, usable: Tensor) -> Tensor:
    first = torch.where(usable, similarity, -torch.inf).amax(dim=1, keepdim=True)
    last = torch.where(usable, similarity, torch.inf).amin(dim=1, keepdim=True)
    fall = (first - last)[torch.isfinite(first - last)]
    temperature = 0.5 * max(float(fall.mean()) if len(fall) else 0.0, 1e-6)
    return torch.where(usable, ((similarity - first) / temperature).exp(), 0.0)
