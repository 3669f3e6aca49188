"""Edges and the distance to them, over batches of grey pictures [n, h, w]."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

_TAN_22 = 0.41421356
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def canny(grey: Tensor, low: float, high: float) -> Tensor:
    """Thin edges of a uint8 picture: strong ones (gradient above `high`) and the weak (`low`) that touch them.

    The gradient is |∂x| + |∂y| by Sobel's operator, edges repeated. Returns bool [n, h, w].

    Source: Canny, "A computational approach to edge detection", PAMI 1986, with OpenCV's choices.
    """
    across = grey.new_tensor(_SOBEL, dtype=torch.float32)
    padded = functional.pad(grey.float()[:, None], (1, 1, 1, 1), mode="replicate")
    slopes = functional.conv2d(padded, torch.stack([across, across.T])[:, None])
    dx, dy = slopes.unbind(1)
    size = dx.abs() + dy.abs()
    ridge = (size > low) & _is_peak(dx, dy, size)
    return _connected(ridge, ridge & (size > high))


def _is_peak(dx: Tensor, dy: Tensor, size: Tensor) -> Tensor:
    """Whether the gradient is largest across the edge, in the nearest of four directions."""
    height, width = size.shape[1:]
    padded = functional.pad(size, (1, 1, 1, 1))

    def at(down: int, right: int) -> Tensor:
        return padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    level = (size > at(0, -1)) & (size >= at(0, 1))
    upright = (size > at(-1, 0)) & (size >= at(1, 0))
    falling = (size > at(-1, -1)) & (size > at(1, 1))
    rising = (size > at(-1, 1)) & (size > at(1, -1))
    flat, steep = dx.abs() * _TAN_22, dx.abs() * (_TAN_22 + 2)
    slanted = torch.where(dx * dy < 0, rising, falling)
    return torch.where(dy.abs() < flat, level, torch.where(dy.abs() > steep, upright, slanted))


def _connected(weak: Tensor, strong: Tensor) -> Tensor:
    """The parts of `weak`, joined over sides and corners, that hold something strong."""
    around = np.zeros((3, 3, 3), dtype=bool)
    around[1] = True
    parts, count = ndimage.label(weak.cpu().numpy(), structure=around)
    kept = np.zeros(count + 1, dtype=bool)
    kept[parts[strong.cpu().numpy()]] = True
    kept[0] = False
    return torch.from_numpy(kept[parts]).to(weak.device)


def distance(marked: Tensor, farthest: int) -> Tensor:
    """Euclidean distance of every pixel to the nearest marked one of its picture, at most `farthest`; float32."""
    height, width = marked.shape[1:]
    beyond = float(farthest)
    down = torch.where(marked, 0.0, beyond)
    step = 1
    while step <= farthest:
        # Every shift up to `farthest` is a sum of powers of two.
        padded = functional.pad(down, (0, 0, step, step), value=beyond) + step
        down = torch.minimum(down, torch.minimum(padded[:, :height], padded[:, 2 * step :]))
        step *= 2
    square = functional.pad(down**2, (farthest, farthest), value=beyond**2)
    found = square[:, :, farthest : farthest + width].clone()
    for shift in range(1, farthest):
        for start in (farthest - shift, farthest + shift):
            torch.minimum(found, square[:, :, start : start + width] + shift**2, out=found)
    return found.sqrt_()
