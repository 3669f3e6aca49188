"""Balanced linear SVMs over a batch of row sets, each with one or many labellings, at a given C."""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.numerics.svm_admm import solve_duals
from app.numerics.svm_intercept import optimal_intercept, saturated_intercept, saturated_sides
from app.numerics.svm_kernel import Kernel

BARELY = 1.2
"""Below this multiple of the largest saturated C few alphas leave their bounds, and a larger penalty is faster."""


@dataclass(frozen=True)
class Hyperplanes:
    """`weights` [G, Q, d] (float32), `intercepts` and relative duality `gap` reached [G, Q] (float64)."""

    weights: Tensor
    intercepts: Tensor
    gap: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """Decision values of `features` [G, m, d]: [G, Q, m]."""
        return self.weights @ features.mT + self.intercepts.float()[..., None]


@dataclass(frozen=True)
class SvmBatch:
    """G sets of n padded rows with Q labellings each.

    Rows are divided by their root mean square norm `scale` [G], and C multiplied by its square: the same problem
    with the kernel's diagonal about 1. `direction` [G, Q, n] is beta at C = 1 with every alpha at its bound, `top`
    and `bottom` [G, Q] are the largest score of its positive and the smallest of its negative rows.
    """

    kernel: Kernel
    scale: Tensor
    signs: Tensor
    positives: Tensor
    negatives: Tensor
    direction: Tensor
    top: Tensor
    bottom: Tensor

    @classmethod
    def of(cls, features: Tensor, mask: Tensor, targets: Tensor) -> "SvmBatch":
        """Build from rows [G, n, d] (float32), real rows [G, n] (bool), targets [G, Q, n] (bool, both values occur)."""
        features = features * mask[..., None]
        scale = (features.square().sum((1, 2)) / mask.sum(1)).sqrt()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        kernel = Kernel.of(features / scale[:, None, None], mask)
        positive, negative = targets & mask[:, None], ~targets & mask[:, None]
        positives, negatives = positive.sum(-1), negative.sum(-1)
        half = (positives + negatives)[..., None] / 2
        direction = half * (positive / positives[..., None] - negative / negatives[..., None])
        scores = kernel.times(direction)
        top = scores.masked_fill(~positive, -torch.inf).amax(-1)
        bottom = scores.masked_fill(~negative, torch.inf).amin(-1)
        return cls(kernel, scale, direction.sign(), positives, negatives, direction, top, bottom)

    def solve(self, costs: Tensor, tolerance: float, max_iterations: int) -> Hyperplanes:
        """Solve all at `costs` (float64 [G]), the C of each set, to the relative duality gap `tolerance`.

        Where the margins allow it every alpha is at its bound (C * (top - bottom) <= 2, the usual case for small
        C): that solution is written down, not iterated for.
        """
        scaled = (costs * self.scale.double() ** 2)[:, None]
        excess = scaled * (self.top.double() - self.bottom.double()) / 2
        saturated = excess <= 1
        beta = scaled[..., None].to(self.direction.dtype) * self.direction
        intercepts = self._saturated_intercepts(costs, scaled, saturated)
        gap = torch.zeros_like(intercepts)
        if not saturated.all():
            rho = (torch.where(excess.amax(1) < BARELY, 3, 1) / scaled[:, 0]).to(beta.dtype)
            upper = beta.abs()
            found = solve_duals(self.kernel, self.signs, upper, rho, ~saturated, tolerance, max_iterations)
            optimal = optimal_intercept(self.signs, self.kernel.times(found.beta), upper)
            beta = torch.where(saturated[..., None], beta, found.beta)
            intercepts = torch.where(saturated, intercepts, optimal.double())
            gap = torch.where(saturated, gap, found.gap)
        weights = beta @ self.kernel.features / self.scale[:, None, None]
        return Hyperplanes(weights, intercepts, gap)

    def _saturated_intercepts(self, costs: Tensor, scaled: Tensor, saturated: Tensor) -> Tensor:
        side = torch.zeros_like(self.positives)
        for cost in set(costs.tolist()):
            here = saturated & (costs == cost)[:, None]
            side[here] = saturated_sides(self.positives[here], self.negatives[here], cost)
        return saturated_intercept(scaled * self.top, scaled * self.bottom, side)
