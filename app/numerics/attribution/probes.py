"""Probes of a classifier's curvature: one backward pass whose gradient has the Fisher matrix as its second moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from app.numerics.attribution.randomness import signs
from app.numerics.streams import stream


def curvature_probe(logits: Tensor, sign: Tensor) -> Tensor:
    """A value for each example whose gradient by any weight is J ᵀ L ε, with L Lᵀ = diag(p) − p pᵀ.

    Over random signs ε the second moment of that gradient is the Fisher matrix, as it is over labels sampled from the
    model's prediction. But a confident model samples almost only its own prediction, and the few other labels carry
    all of the curvature: the estimate from signs varies far less. Linear datamodelling scores of EK-FAC on the digits
    MLP: from one sampled label a row .581 to .585, from two draws of signs .584 to .588, from all labels .589; on the
    digits CNN .531 to .536, .519 to .524, .521; on a CIFAR-10 CNN .366 to .367, .367 to .368, .368
    (`benchmarks.attribution_curvature`).

    Args:
        logits: float [n, C].
        sign: ±1, float [n, C].

    Returns:
        float [n].

    Source: Martens, Sutskever, Swersky 2012 (curvature propagation), with the root of the softmax's own Fisher matrix.
    """
    p = logits.detach().softmax(dim=1)
    drawn = p.sqrt() * sign
    slope = drawn - p * drawn.sum(dim=1, keepdim=True)
    return (logits * slope).sum(dim=1)


def row_probe(rows: Sequence[int], seed: int, name: str) -> Callable[[Tensor], Tensor]:
    """`curvature_probe` of logits [n, C]; the signs of a row are the same whatever batch it comes in."""

    def probe(logits: Tensor) -> Tensor:
        found = [signs((logits.shape[1],), stream(seed, name, row)) for row in rows]
        return curvature_probe(logits, torch.stack(found).to(logits))

    return probe
