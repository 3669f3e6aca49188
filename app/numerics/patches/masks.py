"""Masks of which at least one covers a patch, wherever it lies.

Source: Xiang, Mahloujifar and Mittal, "PatchCleanser: Certifiably Robust Defense against Adversarial Patches for Any
Image Classifier", 2022, section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axis_masks(length: int, patch: int, most: int) -> tuple[Tensor, int]:
    """First pixels int64 [k], k ≤ most, and width of masks along an axis; each place of the patch lies within one.

    The stride is s = ⌈(length − patch + 1) / most⌉, the width patch + s − 1; the last mask ends with the image.

    Raises:
        ValueError: the patch is not between 1 and `length` pixels wide, or `most` not positive.
    """
    if not 1 <= patch <= length or most < 1:
        raise ValueError(f"no {most} masks cover a patch of {patch} in {length} pixels")
    stride = -(-(length - patch + 1) // most)
    width = patch + stride - 1
    first = torch.arange(0, length - width, stride)
    return torch.cat([first, torch.tensor([length - width])]), width


def covering(height: int, width: int, patch: int, most: int) -> Tensor:
    """Masks bool [K, height, width] for a square patch, true where pixels are hidden, at most `most` along an axis."""
    rows, columns = (_axis(length, *axis_masks(length, patch, most)) for length in (height, width))
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def covers(masks: Tensor, tops: Tensor, lefts: Tensor, patch: int) -> Tensor:
    """Whether a mask hides all of a patch with its corner there: bool [K, tops, lefts]."""
    padded = torch.nn.functional.pad(masks.long().cumsum(1).cumsum(2), (1, 0, 1, 0))
    below, right = tops[:, None] + patch, lefts[None] + patch
    above, left = tops[:, None].expand_as(below + right), lefts[None].expand_as(below + right)
    hidden = padded[:, below, right] - padded[:, above, right] - padded[:, below, left] + padded[:, above, left]
    return hidden == patch**2


def _axis(length: int, first: Tensor, width: int) -> Tensor:
    pixels = torch.arange(length)
    return (pixels >= first[:, None]) & (pixels < first[:, None] + width)
