"""Auto-PGD: projected gradient ascent with momentum and a step that halves by itself.

Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks", ICML 2020, algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from app.numerics.attacks.draws import Draws
from app.numerics.attacks.losses import Loss, cross_entropy, nearest_classes, targeted_dlr
from app.numerics.attacks.problem import Found, Problem, ascent, judged

_MOMENTUM = 0.75
_FIRST, _SHRINK, _LEAST = 0.22, 0.03, 0.06
_RISING = 0.75


@dataclass
class _Walk:
    """Where each example that is still searched stands."""

    rows: Tensor
    x: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    step: Tensor
    rises: Tensor
    halved: Tensor
    checked_loss: Tensor

    def take(self, kept: Tensor) -> _Walk:
        return replace(self, **{field.name: getattr(self, field.name)[kept] for field in fields(self)})


def apgd_cross_entropy(problem: Problem, *, steps: int = 100, restarts: int = 1) -> Found:
    """Raise the cross-entropy from random starts; an example ends with the first start that breaks it."""
    found = Found.nothing(problem)
    for restart in range(restarts):
        _one(problem, problem.labels, cross_entropy, ("apgd-ce", restart), steps, found)
    return found


def apgd_targeted(problem: Problem, *, steps: int = 100, targets: int = 9, restarts: int = 1) -> Found:
    """Raise the targeted difference-of-logits ratio of one class after the other, the likeliest first."""
    found = Found.nothing(problem)
    order = nearest_classes(judged(problem, problem.images), problem.labels, targets)
    for restart in range(restarts):
        for place in range(order.shape[1]):
            part = restart * 1000 + place
            _one(problem, order[:, place], targeted_dlr, ("apgd-t", part), steps, found)
    return found


def _one(problem: Problem, targets: Tensor, loss: Loss, stream: tuple[str, int], steps: int, found: Found) -> None:
    """Search once for every example that is not yet sure to be broken."""
    rows = (~found.sure).nonzero()[:, 0]
    if not len(rows):
        return
    part, aims = problem.take(rows), targets[rows]
    start = part.region.start(_noise(part, stream))
    losses, gradient, logits = ascent(part, start, loss, aims)
    step = torch.full_like(losses, 2 * problem.region.ball.radius)
    flat = torch.zeros_like(losses)
    walk = _Walk(
        rows, start, start, gradient, losses, start, losses, gradient, step, flat, flat.bool(), losses.clone()
    )  # fmt: skip
    checks, last = set(checkpoints(steps)), 0
    done = found.offer(rows, start, logits, part.labels)
    for i in range(steps):
        if bool(done.any()):
            walk, part, aims = walk.take(~done), part.take(~done), aims[~done]
        if not len(part):
            return
        _move(walk, part, 1.0 if i == 0 else _MOMENTUM)
        losses, gradient, logits = ascent(part, walk.x, loss, aims)
        done = found.offer(walk.rows, walk.x, logits, part.labels)
        _note(walk, losses, gradient)
        if i + 1 in checks:
            _halve(walk, i + 1 - last)
            last = i + 1


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step length is looked at: 22 % of all, then by 3 % less each, 6 % at least."""
    before, share, found = 0.0, _FIRST, []
    while share <= 1:
        found.append(math.ceil(round(share * steps, 9)))
        before, share = share, share + max(share - before - _SHRINK, _LEAST)
    return found


def _noise(problem: Problem, stream: tuple[str, int]) -> Tensor:
    draws = Draws(problem.seed, *stream, problem.keys)
    like = problem.images
    return draws.spread(like) if problem.region.ball.norm == "Linf" else draws.normal(like)


def _move(walk: _Walk, part: Problem, momentum: float) -> None:
    region, step = part.region, walk.step.view(-1, *(1 for _ in walk.x.shape[1:]))
    ahead = region.project(walk.x + step * region.steepest(walk.gradient))
    there = region.project(walk.x + momentum * (ahead - walk.x) + (1 - momentum) * (walk.x - walk.before))
    walk.before, walk.x = walk.x, there


def _note(walk: _Walk, losses: Tensor, gradient: Tensor) -> None:
    walk.rises = walk.rises + (losses > walk.loss)
    walk.loss, walk.gradient = losses, gradient
    better = losses > walk.best_loss
    wide = better.view(-1, *(1 for _ in walk.x.shape[1:]))
    walk.best = torch.where(wide, walk.x, walk.best)
    walk.best_gradient = torch.where(wide, gradient, walk.best_gradient)
    walk.best_loss = torch.where(better, losses, walk.best_loss)


def _halve(walk: _Walk, window: int) -> None:
    """Halve the step of examples that rise too seldom or stand still, and send them back to their best image."""
    slow = walk.rises < _RISING * window
    still = ~walk.halved & (walk.best_loss <= walk.checked_loss)
    halve = slow | still
    wide = halve.view(-1, *(1 for _ in walk.x.shape[1:]))
    walk.step = torch.where(halve, walk.step / 2, walk.step)
    walk.x = torch.where(wide, walk.best, walk.x)
    walk.gradient = torch.where(wide, walk.best_gradient, walk.gradient)
    walk.loss = torch.where(halve, walk.best_loss, walk.loss)
    walk.halved, walk.checked_loss, walk.rises = halve, walk.best_loss.clone(), torch.zeros_like(walk.rises)
