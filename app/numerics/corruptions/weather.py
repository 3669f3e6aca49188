"""Snow, frost and fog. Pictures are uint8 [n, 3, h, w]; results are float32 in [0, 255]."""

from __future__ import annotations

import torch
from torch import Tensor

from app.numerics.corruptions.draws import Draws
from app.numerics.corruptions.filters import crop_size, streaked, zoomed
from app.numerics.corruptions.frost_texture import SCALES, textures
from app.numerics.corruptions.parameters import Family

_GREY = (0.299, 0.587, 0.114)


def snow(pictures: Tensor, parameters: tuple[float, ...], draws: Draws) -> Tensor:
    """Streaks of flakes, once as drawn and once turned round, over a whitened picture."""
    mean, deviation, zoom, threshold, radius, fall, weight = parameters
    height, width = pictures.shape[2:]
    flakes = draws.normal(1, crop_size(height, zoom), crop_size(width, zoom)).mul_(deviation).add_(mean)
    layer = zoomed(flakes, zoom)
    layer = torch.where(layer < threshold, 0.0, layer).clamp_(0, 1)
    layer = streaked(layer, int(radius), fall, draws.uniform() * 90 - 135)
    layer = (layer * 255).round_()[:, :, :height, :width] / 255
    values = pictures.float() / 255
    grey = (values * values.new_tensor(_GREY).view(3, 1, 1)).sum(dim=1, keepdim=True)
    values = weight * values + (1 - weight) * torch.maximum(values, grey * 1.5 + 0.5)
    return (values + layer + layer.flip(2, 3)).clamp_(0, 1) * 255


def frost(pictures: Tensor, parameters: tuple[float, float], draws: Draws, family: Family) -> Tensor:
    """Lay a random part of a texture of frost over the picture."""
    own, weight = parameters
    known = textures(SCALES[family]).to(pictures.device)
    side, (height, width) = known.shape[-1], pictures.shape[2:]
    which = draws.integers(0, len(known)).long()
    top, left = (draws.integers(0, side).long() for _ in range(2))
    rows = (top[:, None] + torch.arange(height, device=top.device)) % side
    columns = (left[:, None] + torch.arange(width, device=top.device)) % side
    ice = known[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return (pictures.float() * own + ice * weight).clamp_(0, 255)


def fog(pictures: Tensor, parameters: tuple[float, float], draws: Draws) -> Tensor:
    """Add a cloud of random detail and scale back to the picture's largest value."""
    weight, decay = parameters
    values = pictures.float() / 255
    height, width = values.shape[2:]
    largest = values.amax(dim=(1, 2, 3), keepdim=True)
    cloud = plasma(max(height, width), decay, draws)[:, None, :height, :width]
    return ((values + weight * cloud) * (largest / (largest + weight))).clamp_(0, 1) * 255


def plasma(side: int, decay: float, draws: Draws) -> Tensor:
    """Random clouds by the diamond-square algorithm, periodic.

    Returns:
        float32 [n, s, s] in [0, 1], s the next power of two from `side`; detail of half the size has an amplitude
        smaller by decay².
    """
    size = 1 << max(side - 1, 1).bit_length()
    chance = draws.uniform(size * size - 1).mul_(2).sub_(1)
    clouds = torch.zeros(len(draws), size, size, device=chance.device)
    step, amplitude, used = size, 100.0, 0

    def mean(total: Tensor) -> Tensor:
        nonlocal used
        count = total[0].numel()
        found = total / 4 + amplitude**2 * chance[:, used : used + count].view_as(total)
        used += count
        return found

    while step >= 2:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        squares = corners + corners.roll(-1, 1)
        clouds[:, half::step, half::step] = mean(squares + squares.roll(-1, 2))
        middles = clouds[:, half::step, half::step]
        clouds[:, ::step, half::step] = mean(middles + middles.roll(1, 1) + corners + corners.roll(-1, 2))
        clouds[:, half::step, ::step] = mean(middles + middles.roll(1, 2) + corners + corners.roll(-1, 1))
        step, amplitude = half, amplitude / decay
    clouds -= clouds.amin(dim=(1, 2), keepdim=True)
    return clouds / clouds.amax(dim=(1, 2), keepdim=True)
