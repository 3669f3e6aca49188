"""Noise. Pictures are uint8 [n, 3, h, w]; results are float in [0, 255]."""

from __future__ import annotations

import torch
from torch import Tensor

from app.numerics.corruptions.draws import Draws


def gaussian_noise(pictures: Tensor, deviation: float, draws: Draws) -> Tensor:
    """Add normal noise."""
    noise = draws.normal(*pictures.shape[1:])
    return noise.mul_(255 * deviation).add_(pictures).clamp_(0, 255)


def speckle_noise(pictures: Tensor, deviation: float, draws: Draws) -> Tensor:
    """Add normal noise in proportion to the value."""
    noise = draws.normal(*pictures.shape[1:])
    return noise.mul_(deviation).add_(1).mul_(pictures).clamp_(0, 255)


def shot_noise(pictures: Tensor, photons: float, draws: Draws) -> Tensor:
    """Count photons: Poisson with `photons` at full brightness."""
    counts = draws.poisson(pictures.double() / 255 * photons)
    # Counts have few values, and which of them is truncated to which must not hang on the precision.
    values = (torch.arange(int(counts.max()) + 1, device=counts.device).double() / photons).clamp_(0, 1) * 255
    return values[counts]


def impulse_noise(pictures: Tensor, share: float, draws: Draws) -> Tensor:
    """Turn a share of the values black or white, as many of one as of the other."""
    chance = draws.uniform(*pictures.shape[1:])
    found = torch.where(chance < share, 0, pictures)
    return torch.where(chance < share / 2, 255, found).float()
