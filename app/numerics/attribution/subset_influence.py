"""Subsampled influence and memorisation, from models trained on random subsets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_PART = 2**22
"""Mask entries that are float64 at once."""


def subset_influence(masks: Tensor, outputs: Tensor) -> Tensor:
    """Mean output with a training row minus mean output without it.

    Args:
        masks: bool [M, N], which rows each model saw.
        outputs: float [M, m]; margins have less variance than 0/1 correctness.

    Returns:
        float32 [N, m]; NaN where a row was in all subsets or in none.

    Source: Feldman, Zhang 2020, "What neural networks memorize and why", equation 2 and section 4.
    """
    y, size = outputs.double(), max(1, _PART // len(masks))
    total, parts = y.sum(dim=0), []
    for start in range(0, masks.shape[1], size):
        x = masks[:, start : start + size].double()
        seen, summed = x.sum(dim=0)[:, None], x.T @ y
        parts.append((summed / seen - (total - summed) / (len(masks) - seen)).float())
    return torch.cat(parts)


class Memorisation(NamedTuple):
    """For each training row, float64 [N]: `value`, its standard `error`, and the mean output `inside` and `outside`.

    `seen` and `unseen` int64 [N] are the models behind the two means.
    """

    value: Tensor
    error: Tensor
    inside: Tensor
    outside: Tensor
    seen: Tensor
    unseen: Tensor


def memorisation(masks: Tensor, own_outputs: Tensor) -> Memorisation:
    """Influence of each training row on its own output, with Welch's standard error.

    Args:
        masks: bool [M, N].
        own_outputs: float [M, N], each training row's output.

    Returns:
        NaN where a row was in all subsets or in none; the error also where in all but one or in one.

    Source: Feldman, Zhang 2020, equation 1.
    """
    y = own_outputs.double()
    inside, outside = _moments(y, masks), _moments(y, ~masks)
    error = (inside[1] + outside[1]).sqrt()
    return Memorisation(inside[0] - outside[0], error, inside[0], outside[0], masks.sum(dim=0), (~masks).sum(dim=0))


def _moments(values: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the chosen entries of each column, and its variance; NaN below one and two of them."""
    count = chosen.sum(dim=0)
    mean = (values * chosen).sum(dim=0) / count
    spread = ((values - mean).square() * chosen).sum(dim=0) / torch.where(count > 1, count - 1, torch.nan)
    return mean, spread / count
