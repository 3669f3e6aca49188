"""The number that is attributed: a function of the network's output, one value per example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

OutputFunction = Callable[[Tensor, Tensor], Tensor]
"""(network output [n, …], targets [n, …]) → float [n]; row i depends on example i only."""


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-odds of the true class, z_y − log Σ_{c ≠ y} exp(z_c).

    Computed without the probability itself: log p − log(1 − p) is infinite in float32 once p > 1 − 6e-8.

    Args:
        logits: float [n, C], C >= 2.
        labels: int64 [n] in [0, C).

    Returns:
        float [n].

    Source: Park et al., "TRAK", arXiv 2303.14186, section 2.
    """
    own = torch.arange(logits.shape[1], device=logits.device) == labels[:, None]
    return logits.masked_fill(~own, 0).sum(dim=1) - logits.masked_fill(own, -torch.inf).logsumexp(dim=1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The training loss −log p_y, float [n]; arguments as `margin`."""
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def doubt(logits: Tensor, labels: Tensor) -> Tensor:
    """1 − p_y, float [n]: the weight of a training example in TRAK, the derivative of its loss by its margin.

    Arguments as `margin`. Computed as sigmoid(−margin), which keeps its precision when p_y is close to 1.
    """
    return torch.sigmoid(-margin(logits, labels))
