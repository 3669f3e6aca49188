"""Signs that an attack fails because of how a network computes, and not because the network is robust.

Source: Athalye, Carlini, Wagner, "Obfuscated gradients give a false sense of security", ICML 2018; Carlini et al., "On
evaluating adversarial robustness", 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor

from app.numerics.attacks.apgd import apgd_cross_entropy
from app.numerics.attacks.losses import cross_entropy
from app.numerics.attacks.problem import Network, Problem, ascent
from app.numerics.attacks.region import Ball, Norm

_SAME = 1e-3
_SUM = 1e-3
_STEPS = 40


def no_gradient(problem: Problem) -> Tensor:
    """Which examples have a gradient of zero, or none that is finite, in every pixel, bool [n]."""
    _, gradient, _ = ascent(problem, problem.images, cross_entropy, problem.labels)
    return ~gradient.flatten(1).any(dim=1)


@torch.no_grad()
def random_outputs(network: Network, images: Tensor) -> Tensor:
    """Which examples get other logits when they are asked again, bool [n]."""
    first, again = network(images), network(images)
    return (first - again).abs().amax(1) > _SAME * first.abs().amax(1).clamp_min(1e-6)


def probabilities(logits: Tensor) -> Tensor:
    """Which rows of [n, C] look like probabilities: none negative, and their sum is one; bool [n]."""
    return (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() < _SUM)


def survives_all(problem: Problem) -> Tensor:
    """Which examples are still right where every image could be made plain grey, bool [n]."""
    wide = Ball(problem.region.ball.norm, grey_radius(problem.region.ball.norm, problem.images[0].numel()))
    again = Problem.of(problem.network, problem.images, problem.labels, wide, problem.keys, problem.seed)
    return ~apgd_cross_entropy(again, steps=_STEPS).broken


def grey_radius(norm: Norm, values: int) -> float:
    """The radius within which every image of that many values can be made plain grey."""
    return 0.5 if norm == "Linf" else 0.5 * values**0.5
