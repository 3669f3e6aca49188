"""Drops of water or mud. Pictures are uint8 [n, 3, h, w]; results are float32 in [0, 255]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.corruptions.draws import Draws
from app.numerics.corruptions.edges import canny, distance
from app.numerics.corruptions.filters import smoothing_matrix

_WATER = (175.0, 238.0, 238.0)
_MUD = (63.0, 42.0, 20.0)
_RELIEF = ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0))
_FARTHEST = 20


def spatter(pictures: Tensor, parameters: tuple[float, float, float, float, float, bool], draws: Draws) -> Tensor:
    """Add lit drops of water, or cover with mud, where smoothed noise is above a threshold."""
    mean, deviation, blur, threshold, strength, mud = parameters
    noise = draws.normal(*pictures.shape[2:]).mul_(deviation).add_(mean)
    liquid = _smooth(noise, blur)
    wet = liquid >= threshold
    if mud:
        cover = _smooth(wet.float(), strength)
        cover = torch.where(cover < 0.8, 0.0, cover)[:, None]
        colour = cover.new_tensor(_MUD).view(3, 1, 1)
        return (pictures.float() * (1 - cover) + colour * cover).clamp_(0, 255)
    light = _light((liquid * wet * 255).to(torch.uint8))
    largest = light.amax(dim=(1, 2), keepdim=True)
    light = light / torch.where(largest == 0, 1.0, largest) * strength
    return (pictures.float() + light[:, None] * light.new_tensor(_WATER).view(3, 1, 1)).clamp_(0, 255)


def _smooth(layer: Tensor, deviation: float) -> Tensor:
    down, across = (
        smoothing_matrix(side, deviation, 4.0, mirrored=False, device=layer.device) for side in layer.shape[1:]
    )
    return down @ layer @ across.T


def _light(liquid: Tensor) -> Tensor:
    """How much light the drops add: their height times a relief of the distance to their edges."""
    near = distance(canny(liquid, 50, 150), _FARTHEST)
    levels = _equalised(_box(near).floor())
    kernel = levels.new_tensor(_RELIEF)[None, None]
    relief = functional.conv2d(functional.pad(levels[:, None], (1, 1, 1, 1), mode="reflect"), kernel)[:, 0]
    return liquid.float() * _box(relief.clamp_(0, 255)).round_()


def _box(layer: Tensor) -> Tensor:
    """Mean over 3 × 3, mirrored about the last pixel."""
    return functional.avg_pool2d(functional.pad(layer[:, None], (1, 1, 1, 1), mode="reflect"), 3, stride=1)[:, 0]


def _equalised(levels: Tensor) -> Tensor:
    """Spread whole levels 0 … 255 so that their ranks are even; the lowest becomes 0, a flat layer stays."""
    flat = levels.long().flatten(1)
    counts = torch.zeros(len(levels), 256, device=levels.device).scatter_add_(1, flat, torch.ones_like(flat).float())
    first = counts.gather(1, flat.amin(dim=1, keepdim=True))
    rest = flat.shape[1] - first
    table = ((counts.cumsum(1) - first) * 255 / rest.clamp(min=1)).round_().clamp_(0, 255)
    return torch.where((rest == 0)[:, :, None], levels, table.gather(1, flat).view_as(levels))
