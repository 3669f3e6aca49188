"""Smoothing, zooming and streaking over batches [n, c, h, w]."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def gaussian_weights(deviation: float, truncate: float = 4.0) -> NDArray[np.float64]:
    """Normalised weights up to `truncate` deviations on both sides, as `scipy.ndimage.gaussian_filter` takes them."""
    reach = int(truncate * deviation + 0.5)
    weights = np.exp(-0.5 / deviation**2 * np.arange(-reach, reach + 1) ** 2)
    found: NDArray[np.float64] = weights / weights.sum()
    return found


def smoothed(values: Tensor, deviation: float) -> Tensor:
    """Gaussian smoothing of both sides, edges repeated; terms are added in the order in which scipy adds them."""
    weights = gaussian_weights(deviation)
    return _along(_along(values, weights, 2), weights, 3)


def _along(values: Tensor, weights: NDArray[np.float64], dim: int) -> Tensor:
    reach, size = len(weights) // 2, values.shape[dim]
    places = torch.arange(-reach, size + reach, device=values.device).clamp_(0, size - 1)
    padded = values.index_select(dim, places)
    found = padded.narrow(dim, reach, size) * float(weights[reach])
    pair = torch.empty_like(found)
    for step in range(reach, 0, -1):
        torch.add(padded.narrow(dim, reach - step, size), padded.narrow(dim, reach + step, size), out=pair)
        found.add_(pair.mul_(float(weights[reach - step])))
    return found


def smoothing_matrix(size: int, deviation: float, truncate: float, *, mirrored: bool, device: torch.device) -> Tensor:
    """Gaussian smoothing of a side as a float32 matrix [size, size]; for any deviation at one price.

    Beyond the edges stands the mirrored picture (d c b a | a b c d | d c b a) or the edge repeated.
    """
    weights = gaussian_weights(deviation, truncate)
    reach = len(weights) // 2
    places = np.arange(size)[:, None] + np.arange(-reach, reach + 1)
    if mirrored:
        places %= 2 * size
        places = np.where(places >= size, 2 * size - 1 - places, places)
    else:
        places = places.clip(0, size - 1)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.broadcast_to(np.arange(size)[:, None], places.shape), places), weights)
    return torch.from_numpy(matrix.astype(np.float32)).to(device)


def crop_size(side: int, zoom: float) -> int:
    """Length of the part of a side that fills the side once it is zoomed."""
    return int(np.ceil(side / float(zoom)))


def zoomed(values: Tensor, zoom: float) -> Tensor:
    """Zoom bilinearly, corners on corners; the result's sides are rounded."""
    size = [round(side * zoom) for side in values.shape[2:]]
    return functional.interpolate(values, size=size, mode="bilinear", align_corners=True)


def streaked(values: Tensor, radius: int, deviation: float, degrees: Tensor) -> Tensor:
    """Blur along a line that starts at each pixel, its angle one for each picture; edges repeated.

    Values are float32 [n, c, h, w]; `degrees` are [n]. The weights along the line are half of a normal density.
    """
    width = 2 * radius + 1
    density = np.exp(-(np.arange(width) ** 2) / (2 * deviation**2))
    weights = density / density.sum()
    padded = functional.pad(values, (width,) * 4, mode="replicate")
    found = torch.zeros_like(values)
    for picture, target, angle in zip(padded, found, degrees.tolist(), strict=True):
        for weight, (down, right) in zip(weights, _line(angle, width, values.shape[2:]), strict=False):
            rows = picture.narrow(1, width - down, values.shape[2])
            target.add_(rows.narrow(2, width - right, values.shape[3]), alpha=float(weight))
    return found


def _line(degrees: float, width: int, size: torch.Size) -> list[tuple[int, int]]:
    """Whole-pixel shifts along a line, up to the picture's size."""
    down, right = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    shifts = [(-math.ceil(i * down - 0.5), -math.ceil(i * right - 0.5)) for i in range(width)]
    beyond = [i for i, (y, x) in enumerate(shifts) if abs(y) >= size[0] or abs(x) >= size[1]]
    return shifts[: beyond[0]] if beyond else shifts
