"""Datamodels: outputs of many models as a sparse linear function of which training rows each of them saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

LEAST_MODELS = 10
_STEPS = 200
_TOLERANCE = 1e-4
_LOOK = 5
"""Steps between two looks at whether anything still changes."""
_PATIENCE = 3
"""Penalties in a row that predict no target better, after which smaller ones are not tried."""
_PART = 2**23
"""Mask entries that are float32 at once."""
_BLOCK = 2**21
"""Weights solved for at once."""
_MARGIN = 1.02
"""Power iteration nears the largest eigenvalue from below."""


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


def block_size(rows: int) -> int:
    """Targets to fit at once, so that work memory is bounded whatever the number of training rows and targets."""
    return max(16, min(256, _BLOCK // max(rows, 1)))


def fit_datamodels(
    masks: Tensor, outputs: Tensor, prior: Tensor | None = None, path: int = 12, held_out: float = 0.2
) -> Datamodels:
    """`DatamodelFitter` for a single block of targets.

    Args:
        masks: bool [M, N].
        outputs: float [M, m], for example margins.
        prior: float [N, m], scores of another method; None: plain.
        path, held_out: as `DatamodelFitter` takes them.

    Raises:
        ValueError: fewer than 10 models.
    """
    return DatamodelFitter(masks, path, held_out).fit(outputs, prior)


class DatamodelFitter:
    """LASSO of each target's output on the masks; the penalty is chosen on held-out models, then all models are used.

    Made once for all targets and asked block by block (`block_size`). Memory: the masks as they are, a bounded part of
    them as float32, and about ten matrices [N, m] of the block.

    Args:
        masks: bool [M, N].
        path: penalties tried, geometric from the smallest that gives zero down to 1/300 of it.
        held_out: share of the models (the last ones) on which the penalty is chosen.

    Raises:
        ValueError: fewer than 10 models.

    Source: Ilyas, Park, Engstrom, Leclerc, Madry 2022, arXiv 2202.00622, section 3; adaptive weights after Zou 2006.
    """

    def __init__(self, masks: Tensor, path: int = 12, held_out: float = 0.2) -> None:
        if len(masks) < LEAST_MODELS:
            raise ValueError(f"{len(masks)} models are too few for a datamodel; train at least {LEAST_MODELS}.")
        self._cut = len(masks) - max(round(held_out * len(masks)), 2)
        self._whole, self._some, self._path = _Design(masks), _Design(masks[: self._cut]), path
        self._judges = masks[self._cut :]

    def fit(self, outputs: Tensor, prior: Tensor | None = None) -> Datamodels:
        """Fit a block of targets.

        Args:
            outputs: float [M, m], for example margins.
            prior: float [N, m], scores of another method. Weights are shrunk towards the multiple of it that fits the
                outputs best, not towards zero, and row i's penalty is divided by √|prior_i| (relative to the mean), so
                rows that gradients point at may differ from it first. None: plain.
        """
        outputs = outputs.float()
        cost = None if prior is None else _cost(prior)
        start = self._some.multiple(prior, outputs[: self._cut])
        problem, truth = _Problem(self._some, outputs[: self._cut], cost, start), outputs[self._cut :]
        chosen, change, error = self._along_path(problem, truth)
        final = _Problem(self._whole, outputs, cost, self._whole.multiple(prior, outputs))
        weights = final.weights(final.solve(chosen * len(outputs) / self._cut, change))
        spread = truth.var(dim=0, unbiased=False).clamp(min=1e-12)
        return Datamodels(weights, self._whole.intercept(weights, outputs), chosen, 1 - error / spread)

    def _along_path(self, problem: _Problem, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The penalty [m] with the least error on the judges, its changes [N, m] and that error [m]."""
        largest, since = problem.largest(), 0
        change = best = torch.zeros_like(problem.slope)
        chosen, least = largest, torch.full_like(largest, torch.inf)
        for share in torch.logspace(0, -2.5, self._path):
            change = problem.solve(largest * share, change)
            error = (truth - problem.predict(change, self._judges)).square().mean(dim=0)
            better = error < least
            best, least = torch.where(better, change, best), torch.where(better, error, least)
            chosen = torch.where(better, largest * share, chosen)
            since = 0 if better.any() else since + 1
            if since == _PATIENCE:
                break
        return chosen, best, least


def _cost(prior: Tensor) -> Tensor:
    """What each row's penalty is multiplied by, [N, m]; 1 for a row of mean size."""
    size = prior.abs().float()
    return (size / size.mean(dim=0).clamp(min=1e-12)).sqrt().clamp(min=1e-3).reciprocal()


class _Design:
    """Masks with their column means taken off; a part of the models at a time is float32."""

    def __init__(self, masks: Tensor) -> None:
        self._masks = masks
        self.shift = masks.sum(dim=0) / len(masks)
        self.largest = _MARGIN * self._largest()

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Models and their masks as float32."""
        return _parts(self._masks)

    def gradient(self, weights: Tensor, outputs: Tensor) -> Tensor:
        """Xᵀ(X w − y) [N, m] for centred masks X and outputs y [M, m]."""
        found, offset = torch.zeros_like(weights), self.shift @ weights
        total = torch.zeros_like(offset)
        for some, x in self.parts():
            residual = x @ weights - offset - outputs[some]
            found.addmm_(x.T, residual)
            total += residual.sum(dim=0)
        return found.addr_(self.shift, total, alpha=-1)

    def multiple(self, prior: Tensor | None, outputs: Tensor) -> Tensor | None:
        """The multiple of each target's prior, not below zero, that fits its outputs best, [N, m]."""
        if prior is None:
            return None
        predicted = torch.cat([x @ prior.float() for _, x in self.parts()])
        predicted -= predicted.mean(dim=0)
        scale = (predicted * outputs).sum(dim=0) / predicted.square().sum(dim=0).clamp(min=1e-12)
        return prior.float() * scale.clamp(min=0)

    def intercept(self, weights: Tensor, outputs: Tensor) -> Tensor:
        """Intercepts [m]."""
        return outputs.mean(dim=0) - self.shift @ weights

    def _largest(self, width: int = 8, steps: int = 15) -> float:
        """The largest eigenvalue of XᵀX, by power iteration on a block of vectors."""
        start = torch.randn(self._masks.shape[1], width, generator=torch.Generator().manual_seed(0))
        none, found = torch.zeros(len(self._masks), width), start
        for _ in range(steps):
            found = self.gradient(torch.linalg.qr(found).Q, none)
        return max(float(torch.linalg.matrix_norm(found, ord=2)), 1e-12)


class _Problem:
    """min ½‖y − X w‖² + penalty · Σ cost · |w − start| for every target at once, by accelerated proximal steps.

    It is solved for the changes w − start, called d here; `start` None: zero.
    """

    def __init__(self, design: _Design, outputs: Tensor, cost: Tensor | None, start: Tensor | None = None) -> None:
        self._design, self._outputs, self._cost = design, outputs, 1.0 if cost is None else cost
        self._start, self._step = start, 1 / design.largest
        self._centred = outputs - outputs.mean(dim=0)
        if start is not None:
            parts = [x @ start for _, x in design.parts()]
            self._centred = self._centred - torch.cat(parts) + design.shift @ start
        self.slope = -design.gradient(torch.zeros(design.shift.shape[0], outputs.shape[1]), self._centred)

    def weights(self, change: Tensor) -> Tensor:
        """Weights w [N, m]."""
        return change if self._start is None else self._start + change

    def largest(self) -> Tensor:
        """The smallest penalty [m] for which all weights are zero."""
        return (self.slope.abs() / self._cost).amax(dim=0)

    def predict(self, change: Tensor, masks: Tensor) -> Tensor:
        """Outputs [M, m] for other masks."""
        weights = self.weights(change)
        parts = [x @ weights for _, x in _parts(masks)]
        return torch.cat(parts) + self._design.intercept(weights, self._outputs)

    def solve(self, penalty: Tensor, start: Tensor) -> Tensor:
        """Changes d [N, m]."""
        bound = penalty * self._step * self._cost
        ahead, now, momentum = start.clone(), start.clone(), 1.0
        for step in range(1, _STEPS + 1):
            after = self._design.gradient(ahead, self._centred).mul_(-self._step).add_(ahead)
            after.sub_(after.clamp(min=-bound, max=bound))
            grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            change = now.neg_().add_(after)
            torch.add(after, change, alpha=(momentum - 1) / grown, out=ahead)
            done = step % _LOOK == 0 and change.norm() < _TOLERANCE * after.norm().clamp(min=1e-12)
            now, momentum = after, grown
            if done:
                break
        return now


def _parts(masks: Tensor) -> Iterator[tuple[slice, Tensor]]:
    size = max(1, _PART // max(masks.shape[1], 1))
    for start in range(0, len(masks), size):
        some = slice(start, start + size)
        yield some, masks[some].float()
