"""FAB-T: the nearest adversarial image, by steps onto the linearised boundary that are drawn towards the original.

Source: Croce, Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020, in the
targeted form of their AutoAttack: only the boundary between the label and one other class is linearised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from app.numerics.attacks.draws import Draws
from app.numerics.attacks.hyperplane import to_hyperplane
from app.numerics.attacks.losses import nearest_classes, towards
from app.numerics.attacks.problem import Found, Problem, ascent, judged
from app.numerics.attacks.region import Region

_OVERSHOOT = 1.05
_MOST_DRAWN = 0.1
_BACKWARD = 0.9
_HALVINGS = 5
_NEAR = 1.001


class Nearest:
    """The nearest image of another class that is known of each example."""

    def __init__(self, problem: Problem) -> None:
        self.images = problem.images.clone()
        self.distance = torch.full(problem.labels.shape, torch.inf, dtype=torch.float64, device=problem.labels.device)

    def offer(self, rows: Tensor, images: Tensor, distance: Tensor) -> None:
        """Keep what is nearer than what is known."""
        nearer = distance < self.distance[rows]
        self.images[rows[nearer]], self.distance[rows[nearer]] = images[nearer], distance[nearer]


def fab_targeted(problem: Problem, *, steps: int = 100, targets: int = 9, restarts: int = 1) -> Found:
    """Look for a nearest image of each other class; an example ends with the first one inside the region."""
    found, nearest = Found.nothing(problem), Nearest(problem)
    order = nearest_classes(judged(problem, problem.images), problem.labels, targets)
    for restart in range(restarts):
        for place in range(order.shape[1]):
            _one(problem, order[:, place], restart, steps, (found, nearest))
    return found


def nearest_adversarial(problem: Problem, *, steps: int = 100, targets: int = 9) -> Nearest:
    """Return the nearest images of another class that are found, whatever the region's radius."""
    nearest = Nearest(problem)
    order = nearest_classes(judged(problem, problem.images), problem.labels, targets)
    for place in range(order.shape[1]):
        _one(problem, order[:, place], 0, steps, (None, nearest))
    return nearest


def _one(problem: Problem, targets: Tensor, restart: int, steps: int, kept: tuple[Found | None, Nearest]) -> None:
    found, nearest = kept
    rows = torch.arange(len(problem), device=problem.labels.device)
    rows = rows if found is None else rows[~found.sure]
    if not len(rows):
        return
    part, aims = problem.take(rows), targets[rows]
    x = _start(part, restart)
    for _ in range(steps):
        x = _step(part, x, aims)
        wrong = judged(part, x).argmax(1) != part.labels
        nearest.offer(rows[wrong], x[wrong], part.region.take(wrong).distance(x[wrong]))
        x = torch.where(_wide(wrong, x), part.images + _BACKWARD * (x - part.images), x)
        if found is not None:
            going = ~_inside(part, rows, found, nearest)
            rows, part, aims, x = rows[going], part.take(going), aims[going], x[going]
        if not len(rows):
            return
    _closer(part, rows, nearest)
    if found is not None:
        _inside(part, rows, found, nearest)


def _start(part: Problem, restart: int) -> Tensor:
    """The image itself; later restarts begin within half the radius of it."""
    if restart == 0:
        return part.images
    noise = Draws(part.seed, "fab-t", restart, part.keys).spread(part.images)
    return (part.images + (part.region.start(noise) - part.images) / 2).clamp(0, 1)


def _step(part: Problem, x: Tensor, targets: Tensor) -> Tensor:
    """One step: from x and from the original onto the boundary's tangent, mixed by how far each had to go."""
    value, gradient, _ = ascent(part, x, towards, targets)
    normal, here, home = gradient.flatten(1), x.flatten(1), part.images.flatten(1)
    offset = (normal * here).sum(1) - value
    norm = part.region.ball.norm
    both = to_hyperplane(torch.cat([here, home]), normal.repeat(2, 1), offset.repeat(2), norm)
    own, origin = both.chunk(2)
    gone, back = (_size(change, norm) for change in (own, origin))
    drawn = (gone / (gone + back).clamp_min(1e-12)).clamp(0, _MOST_DRAWN)[:, None]
    mixed = (1 - drawn) * (here + _OVERSHOOT * own) + drawn * (home + _OVERSHOOT * origin)
    return mixed.clamp(0, 1).view_as(x)


def _size(change: Tensor, norm: str) -> Tensor:
    return change.abs().amax(1) if norm == "Linf" else change.norm(dim=1)


def _inside(part: Problem, rows: Tensor, found: Found, nearest: Nearest) -> Tensor:
    """Judge the nearest images that lie inside, or all but inside, the region; return which examples are broken."""
    near = nearest.distance[rows] <= _NEAR * part.region.ball.radius
    if bool(near.any()):
        region: Region = part.region.take(near)
        images = region.project(nearest.images[rows[near]])
        some = part.take(near)
        found.offer(rows[near], images, judged(some, images), some.labels)
    return found.sure[rows]


def _closer(part: Problem, rows: Tensor, nearest: Nearest) -> None:
    """Halve the line between each example and its nearest image of another class."""
    known = torch.isfinite(nearest.distance[rows])
    if not bool(known.any()):
        return
    part, rows = part.take(known), rows[known]
    low, high = torch.zeros_like(rows, dtype=part.images.dtype), torch.ones_like(rows, dtype=part.images.dtype)
    far = nearest.images[rows]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        x = part.images + _wide(middle, far) * (far - part.images)
        wrong = judged(part, x).argmax(1) != part.labels
        nearest.offer(rows[wrong], x[wrong], part.region.take(wrong).distance(x[wrong]))
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *(1 for _ in like.shape[1:]))
