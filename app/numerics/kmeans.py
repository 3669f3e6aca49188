"""k-means with k-means++ seeding, all restarts as one batch of tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Clustering(NamedTuple):
    """Labels int64 [n], centres [k, d] and the sum of squared distances to the own centre."""

    labels: Tensor
    centres: Tensor
    inertia: float


def kmeans(points: Tensor, k: int, generator: torch.Generator, restarts: int = 10, iterations: int = 60) -> Clustering:
    """Best of several runs of Lloyd's algorithm.

    Args:
        points: float [n, d], n >= 1; work memory is restarts × n × k.
        k: number of clusters, at least 1; at most n are used.
        generator: source of the seeding (CPU generator; points may be on any device).
        restarts: independent runs, the one of least inertia wins.
        iterations: most Lloyd steps of a run; it stops earlier when no label changes.

    Returns:
        `Clustering` with min(k, n) centres in the dtype and device of `points`. A cluster that loses all its points
        keeps its centre.

    Raises:
        ValueError: no points or k < 1.

    Sources: Lloyd 1982; Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    """
    if len(points) == 0 or k < 1:
        raise ValueError("k-means needs at least one point and one cluster")
    k = min(k, len(points))
    centres = _seed(points, k, generator, restarts)
    labels = _distances(points, centres).argmin(dim=2)
    for _ in range(iterations):
        centres = _means(points, labels, centres)
        moved = _distances(points, centres).argmin(dim=2)
        if torch.equal(moved, labels):
            break
        labels = moved
    inertia = _distances(points, centres).amin(dim=2).sum(dim=1)
    best = int(inertia.argmin())
    return Clustering(labels[best], centres[best], float(inertia[best]))


def nearest_centre(points: Tensor, centres: Tensor) -> Tensor:
    """Return the index of the centre nearest to each point.

    Args:
        points: float [n, d].
        centres: float [k, d], k >= 1.

    Returns:
        int64 [n]; of equally near centres the first.
    """
    return _distances(points, centres[None])[0].argmin(dim=1)


def simplified_silhouette(points: Tensor, centres: Tensor) -> float:
    """How clearly centres part the points: mean of (b − a) / max(a, b), with a the distance to the nearest centre and
    b that to the second nearest.

    Args:
        points: float [n, d], n >= 1.
        centres: float [k, d].

    Returns:
        A value in [0, 1]; 1 is best. A point that lies on both of its centres counts 0.

    Raises:
        ValueError: fewer than two centres.

    Source: Hruschka, de Castro and Campello, "Evolutionary algorithms for clustering gene-expression data", ICDM 2004.
    """
    if len(centres) < 2:
        raise ValueError("a silhouette needs at least two centres")
    near = _distances(points, centres[None])[0].sqrt().topk(2, dim=1, largest=False).values
    return float(((near[:, 1] - near[:, 0]) / near[:, 1].clamp(min=torch.finfo(points.dtype).tiny)).mean())


def _seed(points: Tensor, k: int, generator: torch.Generator, restarts: int) -> Tensor:
    """k-means++: each next centre is a point drawn with probability proportional to its squared distance."""
    first = torch.randint(len(points), (restarts, 1), generator=generator).to(points.device)
    chosen = points[first]
    nearest = _distances(points, chosen)[:, :, 0]
    for _ in range(k - 1):
        mass = nearest.cumsum(dim=1)
        draw = torch.rand((restarts, 1), generator=generator, dtype=torch.float64).to(mass) * mass[:, -1:]
        pick = torch.searchsorted(mass, draw, right=True).clamp_(max=len(points) - 1)
        chosen = torch.cat([chosen, points[pick]], dim=1)
        nearest = torch.minimum(nearest, _distances(points, chosen[:, -1:])[:, :, 0])
    return chosen


def _distances(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances [restarts, n, k]."""
    squares = (points**2).sum(dim=1)[None, :, None] + (centres**2).sum(dim=2)[:, None, :]
    return (squares - 2 * points @ centres.transpose(1, 2)).clamp_(min=0)


def _means(points: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    one_hot = torch.nn.functional.one_hot(labels, centres.shape[1]).to(points.dtype)
    counts = one_hot.sum(dim=1)[:, :, None]
    means = one_hot.transpose(1, 2) @ points / counts.clamp(min=1)
    return torch.where(counts > 0, means, centres)
