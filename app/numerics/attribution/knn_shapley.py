"""Baselines that need no gradients: exact KNN-Shapley values, and similarity."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 256


def knn_shapley(train: Tensor, train_labels: Tensor, targets: Tensor, target_labels: Tensor, k: int = 10) -> Tensor:
    """Exact Shapley values of training rows for a K-nearest-neighbour classifier's probability of each target's class.

    Args:
        train, targets: float [N, d], [m, d]; distance is Euclidean.
        train_labels, target_labels: int64 [N], [m].
        k: neighbours, at least 1.

    Returns:
        float32 [N, m]; a column sums to the classifier's probability of the true class with all rows.

    Raises:
        ValueError: no training rows, or k < 1.

    Source: Jia et al. 2019, "Efficient task-specific data valuation for nearest neighbor algorithms", theorem 1. With
    fewer rows than K the utility still divides by K, as there.
    """
    if len(train) == 0 or k < 1:
        raise ValueError("KNN-Shapley needs at least one training row and one neighbour.")
    blocks = [
        _shapley(torch.cdist(targets[i : i + _BLOCK], train), train_labels, target_labels[i : i + _BLOCK], k)
        for i in range(0, len(targets), _BLOCK)
    ]
    return torch.cat(blocks).T.contiguous() if blocks else train.new_zeros(len(train), 0)


def _shapley(distance: Tensor, train_labels: Tensor, target_labels: Tensor, k: int) -> Tensor:
    """One cumulative sum from the farthest row to the nearest, [m, N]."""
    order = distance.argsort(dim=1, stable=True)
    agrees = (train_labels[order] == target_labels[:, None]).double()
    n = distance.shape[1]
    rank = torch.arange(1, n, device=distance.device, dtype=torch.float64)
    steps = (agrees[:, :-1] - agrees[:, 1:]) / k * rank.clamp(max=k) / rank
    last = agrees[:, -1:] * min(k, n) / (n * k)
    values = torch.cat([steps, last], dim=1).flip(1).cumsum(dim=1).flip(1)
    return torch.zeros_like(values).scatter_(1, order, values).float()


def signed_similarity(train: Tensor, train_labels: Tensor, targets: Tensor, target_labels: Tensor) -> Tensor:
    """Cosine similarity, negative where the labels differ: float [N, m]. The baseline that a method must beat."""
    a, b = torch.nn.functional.normalize(train, dim=1), torch.nn.functional.normalize(targets, dim=1)
    sign = torch.where(train_labels[:, None] == target_labels[None, :], 1.0, -1.0)
    return a @ b.T * sign
