"""EK-FAC influence: inverse curvature in a Kronecker-factored eigenbasis, on tapped factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.attribution.taps import Factors, Tap


class LayerCurvature(NamedTuple):
    """One weight's curvature.

    `left` [out, out] and `right` [in, in] (bias included): eigenbases of E[ggᵀ] and E[aaᵀ]; `values` [out, in]: second
    moments of per-example gradients in that basis.
    """

    left: Tensor
    right: Tensor
    values: Tensor


class CovarianceSum:
    """Sums E[aaᵀ] and E[ggᵀ] of every tap over batches; labels for g must be sampled from the model's prediction."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = tuple(taps)
        self._sums: list[tuple[Tensor, Tensor]] = []
        self._rows = 0

    def add(self, factors: Sequence[Factors]) -> None:
        """Add a batch, as `TappedNetwork.factors` returns it."""
        pairs = [self._moments(tap, pair) for tap, pair in zip(self._taps, factors, strict=True)]
        old = self._sums or [(torch.zeros_like(a), torch.zeros_like(g)) for a, g in pairs]
        self._sums = [(a + x, g + y) for (a, g), (x, y) in zip(old, pairs, strict=True)]
        self._rows += len(factors[0].inputs)

    def bases(self) -> list[tuple[Tensor, Tensor]]:
        """Return for each tap the eigenvectors (left, right).

        Raises:
            ValueError: nothing was added.
        """
        if not self._rows:
            raise ValueError("There are no training rows to estimate the curvature from.")
        return [(_eigenvectors(g / self._rows), _eigenvectors(a / self._rows)) for a, g in self._sums]

    @staticmethod
    def _moments(tap: Tap, pair: Factors) -> tuple[Tensor, Tensor]:
        a, g = positions(tap, pair)
        a, g = a.flatten(0, 1), g.flatten(0, 1)
        return a.T @ a, g.T @ g


def fit_curvature(bases: Sequence[tuple[Tensor, Tensor]], moments: Sequence[Tensor], rows: int) -> list[LayerCurvature]:
    """Join eigenbases with second moments (as `rotated_moments` sums them over `rows` examples)."""
    return [LayerCurvature(left, right, moment / rows) for (left, right), moment in zip(bases, moments, strict=True)]


def rotated_moments(
    taps: Sequence[Tap], factors: Sequence[Factors], bases: Sequence[tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """Σ over a batch of the squared per-example gradients in the eigenbases, [out, in] for each tap."""
    return [
        _rotate(gradients(tap, pair), left, right).square_().sum(dim=0)
        for tap, pair, (left, right) in zip(taps, factors, bases, strict=True)
    ]


def precondition(
    taps: Sequence[Tap], factors: Sequence[Factors], curvature: Sequence[LayerCurvature], damping: float = 0.1
) -> list[Tensor]:
    """Return (H + λI)⁻¹ ∇f for each target and tap, [m, out · in]; λ = `damping` × the mean of the layer's values."""
    found = []
    for tap, pair, layer in zip(taps, factors, curvature, strict=True):
        inside = _rotate(gradients(tap, pair), layer.left, layer.right)
        inside = inside / (layer.values + damping * layer.values.mean())
        found.append((layer.left @ inside @ layer.right.T).flatten(1))
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
    """Per-example gradients [n, out, in] of a tapped weight, the bias as the last column.

    Raises:
        ValueError: a grouped convolution, whose gradient is not one product of two factors.
    """
    a, g = positions(tap, pair)
    return g.transpose(1, 2) @ a


def positions(tap: Tap, pair: Factors) -> tuple[Tensor, Tensor]:
    """Inputs [n, T, in] (ones appended for a bias) and gradients [n, T, out] at each position."""
    a, g = pair
    if tap.convolution:
        if tap.groups > 1:
            raise ValueError(f"“{tap.weight}” is a grouped convolution; EK-FAC leaves it out.")
        a = functional.unfold(a, tap.shape[2:], tap.dilation, tap.padding, tap.stride).transpose(1, 2)
        g = g.flatten(2).transpose(1, 2)
    return (torch.cat([a, torch.ones_like(a[..., :1])], dim=-1) if tap.bias is not None else a), g


def _rotate(formed: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return left.T @ formed @ right


def _eigenvectors(moment: Tensor) -> Tensor:
    vectors: Tensor = torch.linalg.eigh(moment.double())[1]
    return vectors.to(moment.dtype)
