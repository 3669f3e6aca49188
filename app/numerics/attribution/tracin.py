"""TracIn: gradient dot products along the checkpoints of training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def tracin_last_layer(
    train: Sequence[tuple[Tensor, Tensor]], targets: Sequence[tuple[Tensor, Tensor]], rates: Sequence[float]
) -> Tensor:
    """TracIn through the last linear layer, exact and without forming a gradient.

    Args:
        train, targets: for each checkpoint (error float [n, C], input float [n, d]): the loss's gradient by the
            logits, softmax − one-hot for cross-entropy, and the penultimate features (append a one for the bias).
        rates: learning rate at each checkpoint.

    Returns:
        float [N, m]; positive: a step on the training row lowers the target's loss (a proponent).

    Source: Pruthi, Liu, Sundararajan, Kale 2020, arXiv 2002.08484, sections 3.2 and 3.4: the dot product of two
    rank-one gradients is (error · error)(input · input).
    """
    parts = [
        rate * (error @ other_error.T) * (inputs @ other_inputs.T)
        for (error, inputs), (other_error, other_inputs), rate in zip(train, targets, rates, strict=True)
    ]
    return torch.stack(parts).sum(dim=0)


def tracin(train: Sequence[Tensor], targets: Sequence[Tensor], rates: Sequence[float]) -> Tensor:
    """TracIn over all tapped weights.

    Args:
        train, targets: for each checkpoint the (sketched) gradients of the loss, float [N, k] and [m, k].
        rates: learning rate at each checkpoint.

    Returns:
        float [N, m], as `tracin_last_layer`.
    """
    return torch.stack([r * (a @ b.T) for a, b, r in zip(train, targets, rates, strict=True)]).sum(dim=0)


def logit_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the cross-entropy by the logits, softmax − one-hot, float [n, C]."""
    return logits.softmax(dim=1) - torch.nn.functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
