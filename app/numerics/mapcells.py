"""Cells of a 2-D map that are wrong together (PlaneSpot)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from app.numerics.gaussian_mixture import Mixture, bayesian_information, fit_mixture, log_joint


class MapCells(NamedTuple):
    """m cells, worst first, over rows scaled as `(row - low) / span` in (x, y, confidence)."""

    mixture: Mixture
    low: Tensor
    """float64 [3]."""
    span: Tensor
    """float64 [3], > 0."""
    order: Tensor
    """int64 [m], components by importance."""
    importance: Tensor
    """float64 [m], number of errors × error rate among the fit rows whose likeliest component it is, descending."""


def fit_map_cells(
    positions: Tensor,
    confidence: Tensor,
    errors: Tensor,
    seed: int,
    max_components: int = 20,
    confidence_weight: float = 0.5,
    max_rows: int = 20_000,
) -> MapCells:
    """Cut one class's map into cells and rank them.

    Args:
        positions: float [n, 2], the class's fit rows on the map.
        confidence: probability of the true class, float [n] in [0, 1].
        errors: bool [n].
        seed: seeds k-means++ and the sample.
        max_components: the number of cells is chosen from 2, 4, 6, … up to here by BIC.
        confidence_weight: length of the confidence axis beside map axes of length 1 (the paper tunes it).
        max_rows: rows used for the fit; of more, a seeded sample.

    Returns:
        `MapCells`; cells without an error come last with importance 0.

    Raises:
        ValueError: shapes that do not match or no rows.

    Source: Plumb, Johnson, Cabrera, Talwalkar, "Towards a more rigorous science of blindspot discovery in image
    classification models", TMLR 2023, section 4.
    """
    raw = _columns(positions, confidence)
    if len(errors) != len(raw) or len(raw) == 0:
        raise ValueError("positions, confidence and errors must have one length, at least 1")
    low = raw.amin(dim=0)
    span = (raw.amax(dim=0) - low).clamp(min=1e-12) / torch.tensor([1.0, 1.0, confidence_weight]).to(raw)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(raw), generator=generator)[:max_rows].to(raw.device)
    points = (raw[rows] - low) / span
    counts = [k for k in range(2, max_components + 1, 2) if k * 10 <= len(points)] or [1]
    mixtures = [fit_mixture(points, k, generator, "full") for k in counts]
    best = min(mixtures, key=lambda mixture: bayesian_information(mixture, len(points)))
    cell = log_joint(best, (raw - low) / span).argmax(dim=1)
    importance = _importance(cell, errors, len(best.weights))
    order = importance.argsort(descending=True, stable=True)
    return MapCells(best, low, span, order, importance[order])


def map_cell_scores(cells: MapCells, positions: Tensor) -> Tensor:
    """Posterior of each cell given the place on the map, confidence integrated out.

    The true class's probability says nearly whether a row is an error. It shapes the cells on the fit rows but must not
    place a confirm row, or the test of the cell's error rate would be circular.

    Args:
        cells: the fitted cells.
        positions: float [N, 2].

    Returns:
        float32 [N, m] in [0, 1], **large = in the cell**.
    """
    whole = cells.mixture
    flat = whole._replace(means=whole.means[:, :2], covariances=whole.covariances[:, :2, :2])
    points = (positions.double() - cells.low[:2]) / cells.span[:2]
    return log_joint(flat, points).softmax(dim=1)[:, cells.order].float()


def _importance(cell: Tensor, errors: Tensor, count: int) -> Tensor:
    size = torch.bincount(cell, minlength=count).double()
    wrong = torch.bincount(cell, weights=errors.double(), minlength=count)
    return wrong**2 / size.clamp(min=1)


def _columns(positions: Tensor, confidence: Tensor) -> Tensor:
    if positions.dim() != 2 or positions.shape[1] != 2 or confidence.shape != positions.shape[:1]:
        raise ValueError("positions must be [n, 2] and confidence [n]")
    return torch.cat([positions, confidence[:, None].to(positions)], dim=1).double()
