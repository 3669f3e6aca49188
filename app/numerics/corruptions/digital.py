"""Compression, large pixels and elastic transforms. Pictures are uint8 [n, 3, h, w]."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from app.numerics.corruptions.draws import Draws
from app.numerics.corruptions.filters import smoothing_matrix


def jpeg_compression(pictures: Tensor, quality: int, _draws: Draws) -> Tensor:
    """Write as JPEG and read again."""

    def pressed(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _each(pictures, pressed)


def pixelate(pictures: Tensor, share: float, _draws: Draws) -> Tensor:
    """Shrink to a share of the sides by averaging, and repeat the pixels."""

    def coarse(picture: Image.Image) -> Image.Image:
        small = (max(int(picture.width * share), 1), max(int(picture.height * share), 1))
        return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BOX)

    return _each(pictures, coarse)


def _each(pictures: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    images = pictures.permute(0, 2, 3, 1).cpu().numpy()
    found = np.stack([np.asarray(change(Image.fromarray(image))) for image in images])
    return torch.from_numpy(found).to(pictures.device).permute(0, 3, 1, 2)


def elastic_transform(pictures: Tensor, parameters: tuple[float, float, float], draws: Draws) -> Tensor:
    """An affine map that moves three points at random, then smooth random displacements; bilinear.

    `parameters` are relative to the shorter side, as the published ones are for their sides. This is the authors' own
    transform; the package imagecorruptions leaves the affine map out.
    """
    height, width = pictures.shape[2:]
    side = min(height, width)
    displacement, deviation, jitter = (side * share for share in parameters)
    grid = _grid(height, width, pictures.device).expand(len(pictures), -1, -1, -1)
    back = _affine(height, width, jitter, draws)
    straight = torch.einsum("nij,nhwj->nhwi", back[:, :, :2], grid) + back[:, None, None, :, 2]
    values = _taken(pictures.float(), straight, corners=True)
    if displacement == 0:
        return values.clamp_(0, 255)
    down, across = (
        smoothing_matrix(length, deviation, 3.0, mirrored=True, device=pictures.device) for length in (height, width)
    )
    shifts = displacement * (down @ draws.uniform(2, height, width).mul_(2).sub_(1) @ across.T)
    return _taken(values, grid + shifts.permute(0, 2, 3, 1), corners=False).clamp_(0, 255)


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of every pixel, float32 [1, h, w, 2]."""
    rows, columns = (torch.arange(side, device=device, dtype=torch.float32) for side in (height, width))
    return torch.stack([columns.expand(height, -1), rows[:, None].expand(-1, width)], dim=-1)[None]


def _affine(height: int, width: int, jitter: float, draws: Draws) -> Tensor:
    """From places in the result to places in the picture: float32 [n, 2, 3] over (column, row, 1)."""
    middle, reach = (height // 2, width // 2), min(height, width) // 3
    points = torch.tensor(
        [[middle[0] + d * reach, middle[1] + e * reach, 1.0] for d, e in ((1, 1), (1, -1), (-1, -1))],
        dtype=torch.float64,
    )
    moved = points.repeat(len(draws), 1, 1)
    moved[:, :, :2] += (draws.uniform(3, 2).cpu().double() * 2 - 1) * jitter
    back: Tensor = torch.linalg.solve(moved, points[:, :2].expand(len(draws), -1, -1)).transpose(1, 2)
    return back.float().to(draws.device)


def _taken(values: Tensor, places: Tensor, *, corners: bool) -> Tensor:
    """Values at `places` [n, h, w, (column, row)]; mirrored about the last pixel (`corners`) or about its edge."""
    sizes = places.new_tensor([values.shape[3], values.shape[2]])
    scaled = 2 * places / (sizes - 1) - 1 if corners else (2 * places + 1) / sizes - 1
    return functional.grid_sample(values, scaled, mode="bilinear", padding_mode="reflection", align_corners=corners)
