"""TRAK: attribution by a kernel machine on sketched gradients, averaged over checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from app.numerics.attribution.quantised import QuantisedRows
from app.numerics.attribution.ridge import DEFAULT_RIDGE, Spectrum


class Checkpoint(NamedTuple):
    """What one checkpoint gives.

    `train`: sketched gradients of the margin of the N training rows; `spectrum`: their second moment;
    `targets`: float32 [m, k], the same of the targets; `doubt`: float32 [N], 1 − p_y of the training rows.
    """

    train: QuantisedRows
    spectrum: Spectrum
    targets: Tensor
    doubt: Tensor


def trak_scores(checkpoints: Sequence[Checkpoint], ridge: float = DEFAULT_RIDGE) -> Tensor:
    """Scores of all training rows for all targets.

    τ = mean_c[Φ_c (Φ_cᵀΦ_c + λI)⁻¹ φ_c(target)] · mean_c[1 − p_y], with λ = `ridge` × mean eigenvalue.

    Returns:
        float32 [N, m]; positive: the training row raises the target's margin. The scale is that of a margin when the
        row is removed, to first order.

    Raises:
        ValueError: no checkpoints, or a ridge that is not positive.

    Source: Park, Georgiev, Ilyas, Leclerc, Madry 2023, arXiv 2303.14186, equation 17; the ridge is our addition
    (without one a single checkpoint ranks noise when k is close to N).
    """
    if not checkpoints:
        raise ValueError("TRAK needs at least one checkpoint.")
    total = torch.zeros(len(checkpoints[0].train.codes), len(checkpoints[0].targets))
    for point in checkpoints:
        total += point.train.dot(point.spectrum.solve(point.targets, ridge)).to(total)
    doubt = torch.stack([point.doubt for point in checkpoints]).mean(dim=0)
    return total / len(checkpoints) * doubt[:, None].to(total)
