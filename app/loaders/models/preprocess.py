"""From an RGB image to the network's input, in the two halves that threads and device do."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from app.loaders.images import BadImage
from app.loaders.models.spec import Preprocessing

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


def to_pixels(image: Image.Image, steps: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop as torchvision's Resize and CenterCrop do on Pillow images.

    Returns uint8 [height, width, channels].

    Raises:
        BadImage: nothing brings the image to the network's size.
    """
    height, width = steps.size
    if steps.channels == 1:
        image = image.convert("L")
    image = _resized(image, steps)
    if steps.crop == "center" and image.size != (width, height):
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    if image.size != (width, height):
        raise BadImage(
            f"The image has {image.width} × {image.height} pixels, the network takes {width} × {height}, and "
            "neither resizing nor cropping is switched on."
        )
    return np.asarray(image).reshape(height, width, steps.channels)


def _resized(image: Image.Image, steps: Preprocessing) -> Image.Image:
    height, width = steps.size
    if steps.resize == "stretch" and image.size != (width, height):
        return image.resize((width, height), _FILTERS[steps.interpolation])
    if steps.resize == "shorter" and min(image.size) != steps.shorter_side:
        short, side = min(image.size), steps.shorter_side
        new = (int(side * image.width / short), int(side * image.height / short))
        return image.resize((max(new[0], side), max(new[1], side)), _FILTERS[steps.interpolation])
    return image


class Inputs:
    """`to_input` into memory that is kept: fresh pages cost several times the arithmetic.

    A batch holds until the next one is made.
    """

    def __init__(self, steps: Preprocessing) -> None:
        self._steps = steps
        self._kept: Tensor | None = None

    def of(self, pixels: Tensor) -> Tensor:
        """Return what `to_input` returns."""
        if self._kept is None or len(self._kept) < len(pixels):
            self._kept = torch.empty(pixels.shape, dtype=torch.float32, device=pixels.device)
        return to_input(pixels, self._steps, self._kept[: len(pixels)])


def to_input(pixels: Tensor, steps: Preprocessing, out: Tensor | None = None) -> Tensor:
    """Scale and normalise uint8 [n, height, width, channels] to float32 [n, channels, height, width].

    The memory keeps the order of the pixels (channels last), which is also the faster one for convolutions; it is that
    of `out`, float32 [n, height, width, channels], where that is given.
    """
    if steps.colour_order == "BGR" and steps.channels == 3:
        pixels = pixels.flip(3)
    mean = torch.tensor(steps.mean, device=pixels.device, dtype=torch.float64)
    std = torch.tensor(steps.std, device=pixels.device, dtype=torch.float64)
    width = pixels.shape[2]
    factor = (steps.scale / (255.0 * std)).float().repeat(width)
    offset = (mean / std).float().repeat(width)
    batch = torch.empty(pixels.shape, dtype=torch.float32, device=pixels.device) if out is None else out
    # A line of pixels at a time, since a broadcast over three colours is slow; image by image, which a cache holds.
    at_once = 1 if pixels.device.type == "cpu" else max(1, len(pixels))
    for image, target in zip(torch.split(pixels, at_once), torch.split(batch, at_once), strict=True):
        target.copy_(image).view(-1, len(factor)).mul_(factor).sub_(offset)
    return batch.permute(0, 3, 1, 2)


def draft_size(steps: Preprocessing) -> int | None:
    """Short side down to which a JPEG may be decoded coarsely: twice what remains after resizing."""
    if steps.resize == "none":
        return None
    return 2 * (max(steps.size) if steps.resize == "stretch" else steps.shorter_side)
