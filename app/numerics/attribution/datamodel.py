"""Datamodels: outputs of many models as a sparse linear function of which training rows each of them saw."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_STEPS = 200
_TOLERANCE = 1e-4


class Datamodels(NamedTuple):
    """`weights` float32 [N, m], `intercepts` [m], the chosen penalty of each target [m], and its held-out R² [m]."""

    weights: Tensor
    intercepts: Tensor
    penalties: Tensor
    fit: Tensor


def subset_masks(models: int, count: int, share: float, generator: torch.Generator) -> Tensor:
    """Random training subsets of round(share · N) rows each, bool [M, N]."""
    order = torch.rand(models, count, generator=generator).argsort(dim=1)
    return torch.zeros(models, count, dtype=torch.bool).scatter_(1, order[:, : round(share * count)], True)


def fit_datamodels(
    masks: Tensor, outputs: Tensor, prior: Tensor | None = None, path: int = 12, held_out: float = 0.2
) -> Datamodels:
    """LASSO of each target's output on the masks; the penalty is chosen on held-out models, then all models are used.

    Args:
        masks: bool [M, N].
        outputs: float [M, m], for example margins.
        prior: float [N, m], scores of another method; row i's penalty is divided by √|prior_i| (relative to the mean),
            so rows that gradients point at are let in first. None: plain.
        path: penalties tried, geometric from the smallest that gives zero down to 1/300 of it.
        held_out: share of the models (the last ones) on which the penalty is chosen.

    Raises:
        ValueError: fewer than 10 models.

    Source: Ilyas, Park, Engstrom, Leclerc, Madry 2022, arXiv 2202.00622, section 3; adaptive weights after Zou 2006.
    """
    if len(masks) < 10:
        raise ValueError(f"{len(masks)} models are too few for a datamodel; train at least 10.")
    scale = _scale(prior, masks.shape[1], outputs.shape[1])
    cut = len(masks) - max(round(held_out * len(masks)), 2)
    problem = _Problem(masks[:cut], outputs[:cut], scale)
    penalties = problem.largest() * torch.logspace(0, -2.5, path)[:, None]
    errors, weights = [], torch.zeros_like(scale)
    for penalty in penalties:
        weights = problem.solve(penalty, weights)
        errors.append(_error(problem, weights, masks[cut:], outputs[cut:]))
    best = torch.stack(errors).argmin(dim=0)
    chosen = penalties[best, torch.arange(len(best))]
    whole = _Problem(masks, outputs, scale)
    final = whole.solve(chosen * len(masks) / cut, weights)
    spread = outputs[cut:].var(dim=0, unbiased=False).clamp(min=1e-12)
    return Datamodels(final * scale, whole.intercept(final), chosen, 1 - torch.stack(errors).amin(dim=0) / spread)


def _scale(prior: Tensor | None, rows: int, targets: int) -> Tensor:
    if prior is None:
        return torch.ones(rows, targets)
    size = prior.abs().float()
    return (size / size.mean(dim=0).clamp(min=1e-12)).sqrt().clamp(min=1e-3)


class _Problem:
    """min ½‖y − X D w‖² + penalty‖w‖₁ for every target at once, on centred masks X, by accelerated proximal steps."""

    def __init__(self, masks: Tensor, outputs: Tensor, scale: Tensor) -> None:
        self._shift, self._mean = masks.float().mean(dim=0), outputs.mean(dim=0)
        self._x = masks.float() - self._shift
        self._scale = scale
        self._target = scale * (self._x.T @ (outputs - self._mean))
        self._step = 1 / (_norm(self._x) ** 2 * scale.amax(dim=0).square())

    def largest(self) -> Tensor:
        """The smallest penalty [m] for which all weights are zero."""
        return self._target.abs().amax(dim=0)

    def predict(self, weights: Tensor, masks: Tensor) -> Tensor:
        """Outputs [M, m] for other masks."""
        return masks.float() @ (weights * self._scale) + self.intercept(weights)

    def intercept(self, weights: Tensor) -> Tensor:
        """Intercepts [m] for weights on the scaled rows."""
        return self._mean - self._shift @ (weights * self._scale)

    def solve(self, penalty: Tensor, start: Tensor) -> Tensor:
        """Weights [N, m] on the scaled rows."""
        now, ahead, momentum = start, start, 1.0
        for _ in range(_STEPS):
            slope = self._scale * (self._x.T @ (self._x @ (self._scale * ahead))) - self._target
            after = _shrink(ahead - self._step * slope, penalty * self._step)
            grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = after + (momentum - 1) / grown * (after - now)
            change = (after - now).norm() / after.norm().clamp(min=1e-12)
            now, momentum = after, grown
            if change < _TOLERANCE:
                break
        return now


def _shrink(values: Tensor, by: Tensor) -> Tensor:
    return values.sign() * (values.abs() - by).clamp(min=0)


def _norm(x: Tensor) -> float:
    return float(torch.linalg.matrix_norm(x, ord=2))


def _error(problem: _Problem, weights: Tensor, masks: Tensor, outputs: Tensor) -> Tensor:
    return (outputs - problem.predict(weights, masks)).square().mean(dim=0)
