"""How much a training row leans on itself, and what its neighbours say of its label."""

from __future__ import annotations

from collections.abc import Sequence

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


def neighbour_probabilities(features: Tensor, labels: Tensor, groups: Tensor, classes: int, k: int = 20) -> Tensor:
    """Class probabilities of each row by the labels of its nearest rows, itself and its duplicates left out.

    Args:
        features: float [n, d], made without these labels (or the labels speak for themselves).
        labels: int64 [n] in [0, classes), −1 where unknown (such rows vote for nothing).
        groups: int64 [n]; rows of one group are the same picture.
        classes: number of classes C.
        k: neighbours that vote, by cosine; a vote weighs exp(similarity / t), where t is half of what similarity falls
            from the first voter to the last, on average over rows.

    Returns:
        float64 [n, C]; rows sum to one. A row without any voter gets the class frequencies.
    """
    found = nearest_neighbours(features, features, min(2 * k + 1, len(features)))
    usable = (groups[found.indices] != groups[:, None]) & (labels[found.indices] >= 0)
    rank = usable.cumsum(dim=1)
    usable &= rank <= k
    weight = _weights(found.similarity.double(), usable)
    votes = torch.zeros(len(features), classes, dtype=torch.float64)
    votes.scatter_add_(1, labels[found.indices].clamp(min=0), weight)
    prior = torch.bincount(labels[labels >= 0], minlength=classes).double()
    votes = votes + 1e-3 * prior / prior.sum().clamp(min=1)
    return votes / votes.sum(dim=1, keepdim=True)


def _weights(similarity: Tensor, usable: Tensor) -> Tensor:
    first = torch.where(usable, similarity, -torch.inf).amax(dim=1, keepdim=True)
    last = torch.where(usable, similarity, torch.inf).amin(dim=1, keepdim=True)
    fall = (first - last)[torch.isfinite(first - last)]
    temperature = 0.5 * max(float(fall.mean()) if len(fall) else 0.0, 1e-6)
    return torch.where(usable, ((similarity - first) / temperature).exp(), 0.0)
