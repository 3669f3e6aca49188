"""Blur. Pictures are uint8 [n, 3, h, w]; results are float in [0, 255] or uint8."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from app.numerics.corruptions.draws import Draws
from app.numerics.corruptions.filters import crop_size, smoothed, streaked, zoomed


def gaussian_blur(pictures: Tensor, deviation: float, _draws: Draws) -> Tensor:
    """Smooth with a Gaussian."""
    return smoothed(pictures.double() / 255, deviation).clamp_(0, 1) * 255


def motion_blur(pictures: Tensor, parameters: tuple[int, float], draws: Draws) -> Tensor:
    """Smear along a line within 45° of the horizontal."""
    radius, deviation = parameters
    return streaked(pictures.float(), radius, deviation, draws.uniform() * 90 - 45).clamp_(0, 255)


def zoom_blur(pictures: Tensor, parameters: tuple[float, float], _draws: Draws) -> Tensor:
    """Average over zooms towards the middle; summed in float32, as the published data were."""
    stop, step = parameters
    height, width = pictures.shape[2:]
    values = (pictures.double() / 255).float()
    exact, total = values.double(), torch.zeros_like(values)
    zooms = np.arange(1, stop, step).tolist()
    for zoom in zooms:
        high, wide = crop_size(height, zoom), crop_size(width, zoom)
        top, left = (height - high) // 2, (width - wide) // 2
        layer = zoomed(exact[:, :, top : top + high, left : left + wide], zoom)
        total += layer[:, :, :height, :width].float()
    return ((values + total) / (len(zooms) + 1)).clamp_(0, 1) * 255


def defocus_blur(pictures: Tensor, parameters: tuple[float, float], _draws: Draws) -> Tensor:
    """Convolve with a softened disc; beyond the edges stands the picture mirrored about its last row."""
    kernel = _disc(*parameters)
    values = pictures.double() / 255
    height, width = values.shape[2:]
    reach = len(kernel) // 2
    rows, columns = (_mirrored(side, reach, values.device) for side in (height, width))
    padded = values.index_select(2, rows).index_select(3, columns)
    size = [fft.next_fast_len(side + 2 * reach, real=True) for side in (height, width)]
    weights = torch.from_numpy(kernel.astype(np.float64)).to(values.device)
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(weights, s=size)
    found: Tensor = torch.fft.irfft2(spectrum, s=size)
    return found[:, :, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width].clamp(0, 1) * 255


def _mirrored(side: int, reach: int, device: torch.device) -> Tensor:
    """Indices of a side with `reach` more at both ends, as often there and back as it takes."""
    period = max(2 * side - 2, 1)
    places = torch.arange(-reach, side + reach, device=device) % period
    return torch.where(places >= side, period - places, places)


@lru_cache(maxsize=16)
def _disc(radius: float, softness: float) -> NDArray[np.float32]:
    """A disc of that radius, smoothed by a small Gaussian; float32 [k, k], symmetric, of sum 1 up to rounding.

    The last bit of the weights decides some pixels, so that products are added without rounding, and in the order, in
    which OpenCV's vector instructions add them. Of the largest disc twelve weights still differ in that bit, and with
    them about one value in a million by one level.
    """
    reach, soft = (8, 1) if radius <= 8 else (int(radius), 2)
    line = np.arange(-reach, reach + 1)
    disc = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float32)
    disc /= np.sum(disc)
    weights = np.exp(-0.5 * (np.arange(-soft, soft + 1) / softness) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)[soft:]
    return _added(_added(disc.T, weights, (1, 0, 2)).T, weights, (0, 1, 2))


def _added(rows: NDArray[np.float32], weights: NDArray[np.float32], order: Sequence[int]) -> NDArray[np.float32]:
    """Smooth along columns, mirrored; `weights` are those of the middle and outwards, added in `order`."""
    soft = len(weights) - 1
    padded = np.pad(rows, ((soft, soft), (0, 0)), mode="reflect")
    parts = [padded[soft : soft + len(rows)]]
    for step in range(1, soft + 1):
        parts.append(padded[soft - step : soft - step + len(rows)] + padded[soft + step : soft + step + len(rows)])
    total = np.zeros_like(rows)
    for place in order[: soft + 1]:
        total = (parts[place].astype(np.float64) * np.float64(weights[place]) + total).astype(np.float32)
    return total
