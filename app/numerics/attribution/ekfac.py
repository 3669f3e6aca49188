"""EK-FAC influence: inverse curvature in a Kronecker-factored eigenbasis, on tapped factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.attribution.factors import Factors, Tap
from app.numerics.attribution.sketch import grouped_gradient

Basis = tuple[Tensor, Tensor] | None
"""Eigenvectors of E[ggᵀ] [out, out] and of E[aaᵀ] [in, in] (bias included)."""


class LayerCurvature(NamedTuple):
    """One weight's curvature: `values` [out, in], second moments of per-example gradients in the eigenbasis.

    A weight whose gradient is no product of two factors
    (normalisations, grouped convolutions, embeddings) has no basis: its curvature is diagonal.
    """

    basis: Basis
    values: Tensor


class CovarianceSum:
    """Sums E[aaᵀ] and E[ggᵀ] of every tap over batches; labels for g must be sampled from the model's prediction."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = tuple(taps)
        self._sums: list[tuple[Tensor, Tensor] | None] = []
        self._rows = 0

    def add(self, factors: Sequence[Factors]) -> None:
        """Add a batch, as `TappedNetwork.factors` returns it."""
        found = [self._moments(tap, pair) for tap, pair in zip(self._taps, factors, strict=True)]
        self._sums = [_add(a, b) for a, b in zip(self._sums, found, strict=True)] if self._sums else found
        self._rows += len(factors[0].inputs)

    def bases(self) -> list[Basis]:
        """Return for each tap the eigenvectors (left, right); none where the curvature is diagonal.

        Raises:
            ValueError: nothing was added.
        """
        if not self._rows:
            raise ValueError("There are no training rows to estimate the curvature from.")
        return [
            (_eigenvectors(both[1] / self._rows), _eigenvectors(both[0] / self._rows)) if both else None
            for both in self._sums
        ]

    @staticmethod
    def _moments(tap: Tap, pair: Factors) -> tuple[Tensor, Tensor] | None:
        if not _factored(tap):
            return None
        a, g = positions(tap, pair)
        a, g = a.flatten(0, 1), g.flatten(0, 1)
        return a.T @ a, g.T @ g


def fit_curvature(bases: Sequence[Basis], moments: Sequence[Tensor], rows: int) -> list[LayerCurvature]:
    """Join eigenbases with second moments (as `rotated_moments` sums them over `rows` examples)."""
    return [LayerCurvature(basis, moment / rows) for basis, moment in zip(bases, moments, strict=True)]


def rotated_moments(taps: Sequence[Tap], factors: Sequence[Factors], bases: Sequence[Basis]) -> list[Tensor]:
    """Σ over a batch of the squared per-example gradients in the eigenbases, [out, in] for each tap."""
    return [
        _rotate(gradients(tap, pair), basis).square().sum(dim=0)
        for tap, pair, basis in zip(taps, factors, bases, strict=True)
    ]


def precondition(
    taps: Sequence[Tap], factors: Sequence[Factors], curvature: Sequence[LayerCurvature], damping: float = 0.1
) -> list[Tensor]:
    """Return (H + λI)⁻¹ ∇f for each target and tap, [m, out · in]; λ = `damping` × the mean of the layer's values."""
    found = []
    for tap, pair, layer in zip(taps, factors, curvature, strict=True):
        inside = _rotate(gradients(tap, pair), layer.basis) / (layer.values + damping * layer.values.mean())
        found.append((layer.basis[0] @ inside @ layer.basis[1].T if layer.basis else inside).flatten(1))
    return found


def influence(taps: Sequence[Tap], train: Sequence[Factors], preconditioned: Sequence[Tensor]) -> Tensor:
    """Scores [n, m] of a batch of training rows: −∇ℓ(train)ᵀ (H + λI)⁻¹ ∇f(target), summed over taps.

    Args:
        train: factors of the training loss ℓ.
        preconditioned: from `precondition`, with f the output to explain.

    Returns:
        float [n, m]; positive: the training row raises the target's output. Over a training set of N rows the change of
        f when a row leaves is −score / N, to first order.

    Source: George et al. 2018 (EK-FAC); Grosse et al. 2023, arXiv 2308.03296, section 3.
    """
    parts = [
        gradients(tap, pair).flatten(1) @ other.T for tap, pair, other in zip(taps, train, preconditioned, strict=True)
    ]
    return -torch.stack(parts).sum(dim=0)


def gradients(tap: Tap, pair: Factors) -> Tensor:
    """Per-example gradients [n, out, in] of a tapped weight, the bias as the last column; [n, 1, numbers] if formed."""
    if tap.kind == "formed":
        return pair.gradients[:, None, :]
    if tap.kind == "embedding":
        return functional.one_hot(pair.inputs, tap.shape[0]).to(pair.gradients).transpose(1, 2) @ pair.gradients
    if not _factored(tap):
        return grouped_gradient(tap, pair)
    a, g = positions(tap, pair)
    return g.transpose(1, 2) @ a


def positions(tap: Tap, pair: Factors) -> tuple[Tensor, Tensor]:
    """Inputs [n, T, in] (ones appended for a bias) and gradients [n, T, out] at each position."""
    a, g = pair
    if tap.kind == "convolution":
        a = functional.unfold(a, tap.shape[2:], tap.dilation, tap.padding, tap.stride).transpose(1, 2)
        g = g.flatten(2).transpose(1, 2)
    return (torch.cat([a, torch.ones_like(a[..., :1])], dim=-1) if tap.bias is not None else a), g


def _factored(tap: Tap) -> bool:
    return tap.kind in ("linear", "convolution") and tap.groups == 1


def _add(a: tuple[Tensor, Tensor] | None, b: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
    return None if a is None or b is None else (a[0] + b[0], a[1] + b[1])


def _rotate(formed: Tensor, basis: Basis) -> Tensor:
    return formed if basis is None else basis[0].T @ formed @ basis[1]


def _eigenvectors(moment: Tensor) -> Tensor:
    vectors: Tensor = torch.linalg.eigh(moment.double())[1]
    return vectors.to(moment.dtype)
