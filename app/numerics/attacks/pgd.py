"""Projected gradient ascent with a fixed step. Source: Madry et al., "Towards deep learning models resistant to
adversarial attacks", ICLR 2018."""

from __future__ import annotations

from app.numerics.attacks.draws import Draws
from app.numerics.attacks.losses import cross_entropy
from app.numerics.attacks.problem import Found, Problem, ascent

_STRIDE = 2.5


def pgd(problem: Problem, *, steps: int = 40, restarts: int = 1) -> Found:
    """Raise the cross-entropy by steps of 2.5 radius / steps; an example ends with the first start that breaks it."""
    found = Found.nothing(problem)
    for restart in range(restarts):
        _one(problem, restart, steps, found)
    return found


def _one(problem: Problem, restart: int, steps: int, found: Found) -> None:
    rows = (~found.sure).nonzero()[:, 0]
    if not len(rows):
        return
    part, stride = problem.take(rows), _STRIDE * problem.region.ball.radius / steps
    draws = Draws(part.seed, "pgd", restart, part.keys)
    linf = part.region.ball.norm == "Linf"
    noise = draws.spread(part.images) if linf else draws.normal(part.images)
    x = part.region.project(part.images + problem.region.ball.radius * noise) if linf else part.region.start(noise)
    for i in range(steps + 1):
        _, gradient, logits = ascent(part, x, cross_entropy, part.labels)
        going = ~found.offer(rows, x, logits, part.labels)
        if i == steps or not bool(going.any()):
            return
        rows, part, x, gradient = rows[going], part.take(going), x[going], gradient[going]
        x = part.region.project(x + stride * part.region.steepest(gradient))
