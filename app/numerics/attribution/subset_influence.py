"""Subsampled influence and memorisation, from models trained on random subsets."""

from __future__ import annotations

from torch import Tensor


def subset_influence(masks: Tensor, outputs: Tensor) -> Tensor:
    """Mean output with a training row minus mean output without it.

    Args:
        masks: bool [M, N], which rows each model saw.
        outputs: float [M, m]; margins have less variance than 0/1 correctness.

    Returns:
        float32 [N, m]; NaN where a row was in all subsets or in none.

    Source: Feldman, Zhang 2020, "What neural networks memorize and why", equation 2 and section 4.
    """
    x, y = masks.double(), outputs.double()
    seen = x.sum(dim=0)[:, None]
    with_row = x.T @ y / seen
    without = (1 - x).T @ y / (len(masks) - seen)
    return (with_row - without).float()


def memorisation(masks: Tensor, own_outputs: Tensor) -> Tensor:
    """Influence of each training row on its own output: `own_outputs` float [M, N] → float32 [N]."""
    x, y = masks.double(), own_outputs.double()
    seen = x.sum(dim=0)
    return ((x * y).sum(dim=0) / seen - ((1 - x) * y).sum(dim=0) / (len(masks) - seen)).float()
