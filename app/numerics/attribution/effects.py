"""Attributions as an embedding of data: what moves together, and how two learning algorithms differ."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class EffectComponents(NamedTuple):
    """Principal directions of an attribution matrix.

    `train` [N, c] unit columns: which training rows act together; `targets` [m, c]: how strongly, and with which sign,
    each target feels them; `share` [c]: share of the matrix's squared size that each explains. The largest entry of
    each column of `train` is positive.
    """

    train: Tensor
    targets: Tensor
    share: Tensor


def effect_components(scores: Tensor, count: int, generator: torch.Generator) -> EffectComponents:
    """Leading principal components of attributions, each target's vector scaled to unit length.

    Args:
        scores: float [N, m].
        count: components wanted; at most min(N, m) are returned.
        generator: source of the randomised range finder.

    Raises:
        ValueError: an empty matrix, or no component wanted.

    Source: Ilyas et al. 2022, arXiv 2202.00622, section 5 (datamodel embeddings). Decomposition: Halko, Martinsson,
    Tropp 2011.
    """
    if not scores.numel() or count < 1:
        raise ValueError("There are no attributions to decompose.")
    unit = _unit_columns(scores)
    wanted = min(count, *scores.shape)
    left, values, right = _leading(unit, wanted, generator)
    sign = _sign(left)
    return EffectComponents(left * sign, right * values * sign, values.square() / unit.square().sum())


def model_difference(first: Tensor, second: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Directions in training space that one learning algorithm uses and the other does not.

    Args:
        first, second: float [N, m], attributions of the same targets to the same training rows under either algorithm.
        count: directions wanted.
        generator: source of the randomised range finder.

    Returns:
        float64 [N, c], unit columns, the largest entry of each positive. How much either algorithm uses them is
        measured by `loadings`, on targets that had no part in finding them.

    Raises:
        ValueError: the matrices do not match, or the first depends on nothing that the second does not.

    Source: Shah, Park, Ilyas, Madry 2023, "ModelDiff", arXiv 2211.12491, section 3: each target's vector under the
    first algorithm loses its projection on the same target's vector under the second; principal components of the rest.
    """
    if first.shape != second.shape:
        raise ValueError(f"Attributions of {tuple(first.shape)} and {tuple(second.shape)} are not of the same rows.")
    a, b = _unit_columns(first), _unit_columns(second)
    residual = a - b * (a * b).sum(dim=0)
    if residual.norm() < 1e-6 * max(float(a.norm()), 1e-30):
        raise ValueError("The first algorithm depends on nothing that the second does not depend on as well.")
    directions, _, _ = _leading(residual, min(count, *first.shape), generator)
    return directions * _sign(directions)


def loadings(scores: Tensor, directions: Tensor) -> Tensor:
    """How strongly, and with which sign, each target's attribution uses each direction: a cosine, float64 [m, c].

    Its square is the share of the attribution that lies along the direction.

    Args:
        scores: float [N, m].
        directions: float64 [N, c], unit columns.
    """
    return _unit_columns(scores).T @ directions


def _unit_columns(scores: Tensor) -> Tensor:
    wide = scores.double()
    lengths: Tensor = wide.norm(dim=0)
    return wide / lengths.clamp(min=1e-30)


def _leading(matrix: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Leading singular triples; exact where the matrix is small, else by a range finder with power steps."""
    if min(matrix.shape) <= 4 * (count + 10):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        return left[:, :count], values[:count], right[:count].T
    probe = torch.randn(matrix.shape[1], count + 10, generator=generator, dtype=matrix.dtype)
    basis, _ = torch.linalg.qr(matrix @ probe)
    for _ in range(4):
        basis, _ = torch.linalg.qr(matrix @ (matrix.T @ basis))
    small, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return (basis @ small)[:, :count], values[:count], right[:count].T


def _sign(columns: Tensor) -> Tensor:
    """±1 for each column, so that its largest entry becomes positive: the result does not depend on the solver."""
    largest = columns.abs().argmax(dim=0)
    signs: Tensor = columns[largest, torch.arange(columns.shape[1])].sign()
    return signs
