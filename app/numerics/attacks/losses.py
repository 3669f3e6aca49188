"""What an attack raises: functions of logits, one number an example, larger is worse for the network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits [n, C], labels int64 [n], targets int64 [n]) → [n]."""
_DLR_CLASSES = 4


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit less the largest other one, [n]: negative where the network is wrong."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own - others.amax(1)


def cross_entropy(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    """Minus the logarithm of the label's probability."""
    return functional.cross_entropy(logits, labels, reduction="none")


def towards(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's logit less the label's."""
    pair = logits.gather(1, torch.stack([labels, targets], dim=1))
    return pair[:, 1] - pair[:, 0]


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Targeted difference-of-logits ratio; with fewer than four classes, where it has none, the plain difference.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks", ICML 2020, section 4.2: (z_t − z_y) / (z_1 − (z_3 + z_4) / 2), logits sorted from the largest.
    """
    difference = towards(logits, labels, targets)
    if logits.shape[1] < _DLR_CLASSES:
        return difference
    top = logits.topk(_DLR_CLASSES, dim=1).values
    return difference / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def nearest_classes(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """The classes with the largest logits but the label's, the largest first, int64 [n, min(count, C − 1)]."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices
