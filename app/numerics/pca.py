"""Principal components of many rows in bounded memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 65_536


class Components(NamedTuple):
    """`mean` float32 [d]; `axes` float32 [q, d], orthonormal, largest variance first; `variance` float64 [q]."""

    mean: Tensor
    axes: Tensor
    variance: Tensor


def principal_components(features: Tensor, count: int, block: int = BLOCK) -> Components:
    """Principal axes from the covariance, summed block by block in float64.

    Args:
        features: float [n, d], n >= 2; may be memory-mapped, since only `block` rows are read at a time.
        count: number of axes; at most min(n - 1, d) are returned.
        block: rows at a time.

    Returns:
        `Components`. The sign of an axis is fixed: its largest coordinate is positive.

    Raises:
        ValueError: fewer than two rows or no axis asked for.

    Source: Pearson 1901; Jolliffe, "Principal component analysis", 2002.
    """
    n, d = features.shape
    if n < 2 or count < 1:
        raise ValueError("principal components need at least two rows and one axis")
    mean = sum((part.sum(dim=0, dtype=torch.float64) for part in torch.split(features, block)), torch.zeros(())) / n
    scatter = torch.zeros((d, d), dtype=torch.float64, device=features.device)
    for part in torch.split(features, block):
        centred = part.to(torch.float64) - mean
        scatter += centred.T @ centred
    values, vectors = torch.linalg.eigh(scatter / (n - 1))
    kept = min(count, n - 1, d)
    axes = vectors.flip(1).T[:kept]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return Components(mean.float(), (axes * largest.sign()).float(), values.flip(0)[:kept].clamp(min=0))


def project(components: Components, features: Tensor, block: int = BLOCK) -> Tensor:
    """Coordinates of rows on the axes: float [n, d] to float32 [n, q]."""
    parts = [(part.float() - components.mean) @ components.axes.T for part in torch.split(features, block)]
    return torch.cat(parts) if parts else features.new_zeros((0, len(components.axes)), dtype=torch.float32)
