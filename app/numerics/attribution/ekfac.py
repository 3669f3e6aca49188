"""EK-FAC influence: inverse curvature in a Kronecker-factored eigenbasis, on tapped factors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from app.numerics.attribution.factors import Factors, Tap
from app.numerics.attribution.layouts import Inputs
from app.numerics.attribution.probes import row_probe
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.attribution.weights import Weight, weights

DAMPING = 0.1
"""λ, times the mean curvature of all weights."""
PROBES = 2
"""Probes of each row for covariances, and as many for the values."""
WIDEST = 4608
"""Longest side of a weight whose covariances are decomposed; its eigh takes 26 CPU seconds and 0.6 GB."""

Basis = tuple[Tensor, Tensor] | None
"""Eigenvectors of E[ggᵀ] [out, out] and of E[aaᵀ] [in, in] (bias included)."""
Batches = Callable[[], Iterable[tuple[Sequence[int], Inputs]]]
"""Numbers of the rows, and what the network takes of them; starts over at each call."""


class Curvature(NamedTuple):
    """One weight's curvature: `values` [out, in], second moments of per-example gradients in the eigenbasis.

    A weight whose gradient is no product of two factors (normalisations, grouped convolutions, embeddings), or with a
    side above `WIDEST`, has no basis: its curvature is diagonal.
    """

    basis: Basis
    values: Tensor


def estimate_curvature(network: TappedNetwork, batches: Batches, seed: int) -> list[Curvature]:
    """Fit the curvature of each weight, in the order of `weights(network.taps)`; two passes over the rows.

    Covariances and values come from independent probes (`curvature_probe`), keyed by row, so that the values are not
    fitted to the noise of the eigenvectors.

    Raises:
        ValueError: there are no rows.
        FloatingPointError: a gradient is not finite.

    Source: George et al. 2018, arXiv 1806.03884 (EK-FAC).
    """
    covariance = CovarianceSum(network.taps)
    for found in _probed(network, batches, seed, "covariance"):
        covariance.add(*found)
    bases, count = covariance.bases(), 0
    moments: list[Tensor] = []
    for found in _probed(network, batches, seed, "values"):
        part = rotated_moments(network.taps, bases, *found)
        moments = [a + b for a, b in zip(moments, part, strict=True)] if moments else part
        count += len(found) * len(found[0][0].gradients)
    return joined(bases, moments, count)


class CovarianceSum:
    """Sums E[aaᵀ] and E[ggᵀ] of every weight over batches; g must come from probes or from labels sampled from the
    model's prediction."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._weights = weights(taps)
        self._sums: list[tuple[Tensor, Tensor] | None] = []
        self._rows = 0

    def add(self, *probes: Sequence[Factors]) -> None:
        """Add a batch, as `TappedNetwork.factors` returns it, for one probe or several; inputs are summed once."""
        found = [_moments(weight, probes) for weight in self._weights]
        self._sums = [_add(a, b) for a, b in zip(self._sums, found, strict=True)] if self._sums else found
        self._rows += len(probes[0][0].gradients)

    def bases(self) -> list[Basis]:
        """Return for each weight the eigenvectors (left, right); none where the curvature is diagonal.

        Raises:
            ValueError: nothing was added.
        """
        if not self._rows:
            raise ValueError("There are no training rows to estimate the curvature from.")
        return [
            (_eigenvectors(both[1] / self._rows), _eigenvectors(both[0] / self._rows)) if both else None
            for both in self._sums
        ]


def rotated_moments(taps: Sequence[Tap], bases: Sequence[Basis], *probes: Sequence[Factors]) -> list[Tensor]:
    """Σ over a batch and its probes of the squared per-example gradients in the eigenbases, [out, in] a weight."""
    return [
        sum_of([_squares(weight, own, basis) for own in weight.slices(*probes)])
        for weight, basis in zip(weights(taps), bases, strict=True)
    ]


def joined(bases: Sequence[Basis], moments: Sequence[Tensor], rows: int) -> list[Curvature]:
    """Join eigenbases with second moments (as `rotated_moments` sums them over `rows` examples)."""
    return [Curvature(basis, moment / rows) for basis, moment in zip(bases, moments, strict=True)]


def damped(curvature: Sequence[Curvature], damping: float = DAMPING, *, each: bool = False) -> list[Tensor]:
    """Values with λ added, [out, in] for each weight; all infinite where there is no curvature at all.

    λ = `damping` × the mean of all weights' values, one number for the whole network; with `each`, × the mean of the
    weight's own values, as kronfluence has it. See docs/decisions/0009-curvature.md.
    """
    means = [layer.values.mean() for layer in curvature]
    if not each:
        total = sum_of([layer.values.sum() for layer in curvature])
        means = [total / sum(layer.values.numel() for layer in curvature)] * len(curvature)
    return [
        layer.values + torch.where(mean > 0, damping * mean, torch.inf)
        for layer, mean in zip(curvature, means, strict=True)
    ]


def precondition(
    taps: Sequence[Tap],
    factors: Sequence[Factors],
    curvature: Sequence[Curvature],
    damping: float = DAMPING,
    *,
    each: bool = False,
) -> list[Tensor]:
    """Return (H + λI)⁻¹ ∇f for each target and weight, [m, out · in]; `damped` says what λ is.

    All of a weight's per-example gradients stand in memory at once; `app.numerics.attribution.coordinates` does the
    same for many rows.
    """
    found = []
    for weight, layer, values in zip(weights(taps), curvature, damped(curvature, damping, each=each), strict=True):
        parts = [rotated(weight, own, layer.basis) / values for (own,) in weight.slices(factors)]
        inside = torch.cat(parts)
        found.append((layer.basis[0] @ inside @ layer.basis[1].T if layer.basis else inside).flatten(1))
    return found


def influence(taps: Sequence[Tap], train: Sequence[Factors], preconditioned: Sequence[Tensor]) -> Tensor:
    """Scores [n, m] of a batch of training rows: −∇ℓ(train)ᵀ (H + λI)⁻¹ ∇f(target), summed over weights.

    Args:
        train: factors of the training loss ℓ.
        preconditioned: from `precondition`, with f the output to explain.

    Returns:
        float [n, m]; positive: the training row raises the target's output. Over a training set of N rows the change of
        f when a row leaves is −score / N, to first order.

    Source: George et al. 2018 (EK-FAC); Grosse et al. 2023, arXiv 2308.03296, section 3.
    """
    parts = [
        torch.cat([weight.formed(own).flatten(1) @ other.T for (own,) in weight.slices(train)])
        for weight, other in zip(weights(taps), preconditioned, strict=True)
    ]
    return -sum_of(parts)


def rotated(weight: Weight, own: Sequence[Factors], basis: Basis) -> Tensor:
    """Per-example gradients leftᵀ G right, [n, r, s], for `basis` left [out, r] and right [in, s]; G where it is none.

    Positions are rotated before they are summed, or after, whichever takes fewer multiplications.
    """
    if basis is None:
        return weight.formed(own)
    return _turned(weight.inputs(own), weight.gradients(own), *basis)


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    return torch.stack(list(parts)).sum(dim=0)


def _turned(a: Tensor, g: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """leftᵀ gᵀ a right, [..., r, s], of a [n, T, in] and g [..., n, T, out]."""
    (out, r), (inner, s), count = left.shape, right.shape, a.shape[1]
    if count * (out * r + inner * s + r * s) < out * inner * count + r * inner * (out + s):
        return (g @ left).transpose(-2, -1) @ (a @ right)
    return left.T @ (g.transpose(-2, -1) @ a) @ right


def _probed(network: TappedNetwork, batches: Batches, seed: int, name: str) -> Iterator[list[list[Factors]]]:
    for rows, inputs in batches():
        yield [network.factors(inputs, row_probe(rows, seed, f"{name}-{draw}"))[1] for draw in range(PROBES)]


def _squares(weight: Weight, probes: Sequence[Sequence[Factors]], basis: Basis) -> Tensor:
    if basis is None:
        return sum_of([weight.formed(own).square().sum(dim=0) for own in probes])
    a, g = weight.inputs(probes[0]), torch.stack([weight.gradients(own) for own in probes])
    if a.shape[1] > 1:
        return _turned(a, g, *basis).square().sum(dim=(0, 1))
    return (g @ basis[0]).square().sum(dim=0)[:, 0].T @ (a @ basis[1]).square()[:, 0]


def _moments(weight: Weight, probes: Sequence[Sequence[Factors]]) -> tuple[Tensor, Tensor] | None:
    if not weight.factored or max(weight.sides) > WIDEST:
        return None
    parts = [_both(weight, own) for own in weight.slices(*probes)]
    return sum_of([a for a, _ in parts]), sum_of([g for _, g in parts])


def _both(weight: Weight, probes: Sequence[Sequence[Factors]]) -> tuple[Tensor, Tensor]:
    a = weight.inputs(probes[0]).flatten(0, 1)
    g = torch.cat([weight.gradients(own).flatten(0, 1) for own in probes])
    return a.T @ a, g.T @ g


def _add(a: tuple[Tensor, Tensor] | None, b: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
    return None if a is None or b is None else (a[0] + b[0], a[1] + b[1])


def _eigenvectors(moment: Tensor) -> Tensor:
    vectors: Tensor = torch.linalg.eigh(moment.double())[1]
    return vectors.to(moment.dtype)
