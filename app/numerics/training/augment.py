"""Random shifts and mirror images of a batch of pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def augmented(pixels: Tensor, shift: int, mirror: bool, generator: torch.Generator) -> Tensor:
    """Move each image by up to `shift` pixels each way, its border repeated, and flip half of them left to right.

    Args:
        pixels: [n, height, width, channels], any dtype.
        shift: largest move in pixels; 0: none.
        mirror: whether to flip.
        generator: source of the moves, on the CPU.

    Returns:
        The same shape and dtype; `pixels` itself where nothing is asked for.
    """
    if not shift and not mirror:
        return pixels
    n, height, width = pixels.shape[:3]
    moves = torch.randint(-shift, shift + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + moves[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + moves[1]).clamp(0, width - 1)
    if mirror:
        flipped = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    place = torch.arange(n)[:, None, None]
    found: Tensor = pixels[place, rows[:, :, None].to(pixels.device), columns[:, None, :].to(pixels.device)]
    return found
