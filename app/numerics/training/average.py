"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows a network's parameters and buffers with decay d: a ← d·a + (1 − d)·w, from the first step on.

    The decay rises as min(d, (1 + t) / (10 + t)) with the step t, so that the first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay, self._step = network, decay, 0
        self._kept = {name: value.clone() for name, value in _floats(network).items()}

    @torch.no_grad()
    def follow(self) -> None:
        """Take in the weights after a step."""
        decay = min(self._decay, (1 + self._step) / (10 + self._step))
        self._step += 1
        for name, value in _floats(self._network).items():
            self._kept[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def settle(self) -> None:
        """Give the network the averaged weights."""
        for name, value in _floats(self._network).items():
            value.copy_(self._kept[name])


def _floats(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.state_dict().items() if value.is_floating_point()}
