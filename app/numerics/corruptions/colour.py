"""Brightness, contrast and saturation, in float64: truncation to 8 bits then falls as in the published data."""

from __future__ import annotations

import torch
from torch import Tensor

from app.numerics.corruptions.draws import Draws


def brightness(pictures: Tensor, offset: float, _draws: Draws) -> Tensor:
    """Add to the value of HSV."""
    hue, saturation, value = _to_hsv(pictures.double() / 255)
    return _to_rgb(hue, saturation, (value + offset).clamp_(0, 1)).clamp_(0, 1) * 255


def saturate(pictures: Tensor, parameters: tuple[float, float], _draws: Draws) -> Tensor:
    """Scale and shift the saturation of HSV."""
    factor, offset = parameters
    hue, saturation, value = _to_hsv(pictures.double() / 255)
    return _to_rgb(hue, (saturation * factor + offset).clamp_(0, 1), value).clamp_(0, 1) * 255


def contrast(pictures: Tensor, share: float, _draws: Draws) -> Tensor:
    """Move every value towards its channel's mean."""
    values = pictures.double() / 255
    # Added one after the other, as NumPy does over channels that lie side by side: flat colours hang on the last bit.
    means = values.flatten(2).cumsum(dim=2)[:, :, -1, None, None] / values[0, 0].numel()
    return ((values - means) * share + means).clamp_(0, 1) * 255


def _to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value, each [n, h, w] in [0, 1]; grey has neither hue nor saturation."""
    red, green, blue = rgb.unbind(1)
    value, low = rgb.amax(dim=1), rgb.amin(dim=1)
    spread = value - low
    safe = torch.where(spread == 0, 1.0, spread)
    hue = (green - blue) / safe
    hue = torch.where(green == value, 2 + (blue - red) / safe, hue)
    hue = torch.where(blue == value, 4 + (red - green) / safe, hue)
    hue = torch.where(spread == 0, 0.0, (hue / 6) % 1)
    return hue, torch.where(spread == 0, 0.0, spread / torch.where(value == 0, 1.0, value)), value


def _to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    sector = torch.floor(hue * 6)
    rest = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - rest * saturation)
    rising = value * (1 - (1 - rest) * saturation)
    choice = (sector.long() % 6).unsqueeze(0)
    # One of six orders, by the sector of the colour circle.
    red = torch.stack([value, falling, low, low, rising, value])
    green = torch.stack([rising, value, value, falling, low, low])
    blue = torch.stack([low, low, rising, value, value, falling])
    return torch.stack([channel.gather(0, choice)[0] for channel in (red, green, blue)], dim=1)
