"""Bands and blocks of pixels that are kept while the rest of an image is masked out, and which of them a patch meets.

Positions lie `stride` pixels apart and wrap round the edge. One axis at a time: a block is a band in either axis.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kept(length: int, band: int, stride: int = 1) -> Tensor:
    """Return bool [positions, length]: the pixels that each band keeps; band p starts at pixel p · stride.

    Raises:
        ValueError: the band is not between 1 and `length` pixels wide, or the stride not positive.
    """
    if not 1 <= band <= length or stride < 1:
        raise ValueError(f"a band of {band} pixels at stride {stride} does not fit into {length} pixels")
    first = torch.arange(0, length, stride)
    return (torch.arange(length)[None] - first[:, None]) % length < band


def touched(bands: Tensor, patch: int, firsts: Tensor) -> Tensor:
    """Return bool [patches, positions]: whether a patch of that width, first pixel at `firsts` int64, meets a band."""
    pixels = torch.arange(bands.shape[1])
    inside = (pixels[None] >= firsts[:, None]) & (pixels[None] < firsts[:, None] + patch)
    return (inside.float() @ bands.float().T) > 0


def most_met(length: int, band: int, stride: int, patch: int) -> int:
    """The most bands along one axis that a patch of that width can meet, wherever it lies, wrapping included.

    A patch meets the bands that start in a window of patch + band − 1 pixels: ⌈(patch + band − 1) / stride⌉ of them
    where the stride divides the length (Levine and Feizi 2020, theorem 1; Salman et al. 2022, section 2), and one
    more at the seam where it does not, since the last and the first band lie closer together there.
    """
    first = torch.arange(0, length, stride)
    window = patch + band - 1
    if window >= length:
        return len(first)
    ahead = (first[None] - torch.arange(length)[:, None]) % length
    return int((ahead < window).sum(1).max())
