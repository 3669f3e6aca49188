"""What the Square attack paints: stripes and squares at the ball's corners (L∞), moved bumps (L2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.numerics.attacks.draws import Draws
from app.numerics.attacks.problem import Problem
from app.numerics.attacks.region import length

_TILES = 5
_LEAST_L2 = 3
_TINY = 1e-12


def begin(problem: Problem, draws: Draws) -> Tensor:
    """The first image: vertical stripes of random sign (L∞), or a grid of bumps of random sign (L2)."""
    x, region = problem.images, problem.region
    _, channels, height, width = x.shape
    if region.ball.norm == "Linf":
        return region.project(x + region.ball.radius * _signs(draws.uniform(channels, 1, width).to(x)))
    side = max(min(height, width) // _TILES, 1)
    bump, change = _bump(side).to(x), torch.zeros_like(x)
    rows, columns = height // side, width // side
    signs = _signs(draws.uniform(channels, rows, columns).to(x))
    tiles = signs[..., None, None] * bump
    change[..., : rows * side, : columns * side] = tiles.transpose(3, 4).reshape(
        len(x), channels, rows * side, columns * side
    )
    return region.project(x + region.ball.radius * change / length(change))


def propose(problem: Problem, best: Tensor, share: float, numbers: Tensor) -> Tensor:
    """A new image from the best one, [n, c, h, w]; `numbers` are uniform, [n, 5 + c]."""
    height, width = best.shape[2:]
    side = round(math.sqrt(share * height * width))
    if problem.region.ball.norm == "Linf":
        return _repaint(problem, best, max(1, min(side, height, width)), numbers)
    side = min(max(side, _LEAST_L2), height, width)
    return _move(problem, best, side - (side % 2 == 0 and side > 1), numbers)


def _repaint(problem: Problem, best: Tensor, side: int, numbers: Tensor) -> Tensor:
    inside = _window(best, side, numbers[:, 0], numbers[:, 1])
    painted = problem.images + problem.region.ball.radius * _signs(numbers[:, 5:])[:, :, None, None]
    return problem.region.project(torch.where(inside, painted, best))


def _move(problem: Problem, best: Tensor, side: int, numbers: Tensor) -> Tensor:
    """Take the change out of one window and add a bump of that strength to another."""
    region, change = problem.region, best - problem.images
    target = _window(best, side, numbers[:, 0], numbers[:, 1])
    source = _window(best, side, numbers[:, 2], numbers[:, 3])
    total = change.square().sum((1, 2, 3), keepdim=True)
    unused = (region.ball.radius**2 - total).clamp_min(0) / best.shape[1]
    strength = ((change * (target | source)).square().sum((2, 3), keepdim=True) + unused).sqrt()
    old = _unit(change * target)
    bump = _placed(best, side, numbers) * _signs(numbers[:, 5:])[:, :, None, None]
    new = torch.where(source, torch.zeros_like(change), change)
    new = torch.where(target, _unit(bump + old) * strength, new)
    return region.project(problem.images + region.ball.radius * new / length(new))


def _placed(best: Tensor, side: int, numbers: Tensor) -> Tensor:
    """Bumps in each example's target window, zero elsewhere, [n, 1, h, w]; half of them lie on their side."""
    height, width = best.shape[2:]
    bump = _halves(side).to(best)
    flat = torch.stack([bump, bump.T])[(numbers[:, 4] < 0.5).long()]
    found = best.new_zeros(len(best), 1, height, width)
    rows = _corner(numbers[:, 0], height - side)[:, None, None] + torch.arange(side, device=best.device)[None, :, None]
    columns = _corner(numbers[:, 1], width - side)[:, None, None] + torch.arange(side, device=best.device)
    found[torch.arange(len(best), device=best.device)[:, None, None], 0, rows, columns] = flat
    return found


def _window(images: Tensor, side: int, row: Tensor, column: Tensor) -> Tensor:
    """Masks of squares, bool [n, 1, h, w], whose corners follow from uniform numbers [n]."""
    return (_band(images.shape[2], side, row)[:, :, None] & _band(images.shape[3], side, column)[:, None, :])[:, None]


def _band(extent: int, side: int, number: Tensor) -> Tensor:
    places, first = torch.arange(extent, device=number.device), _corner(number, extent - side)[:, None]
    return (places >= first) & (places < first + side)


def _corner(number: Tensor, last: int) -> Tensor:
    return (number * (last + 1)).long().clamp_max(last)


def _signs(numbers: Tensor) -> Tensor:
    return torch.where(numbers < 0.5, -1.0, 1.0).to(numbers)


def _unit(change: Tensor) -> Tensor:
    return change / change.square().sum((2, 3), keepdim=True).sqrt().clamp_min(_TINY)


def _rectangle(height: int, width: int) -> Tensor:
    """Nested rectangles, the inner ones higher: at a distance d from the middle, the sum of 1 / (j + 1)² from j = d."""
    most = max(height, width) // 2
    steps = torch.tensor([1 / (j + 1) ** 2 for j in range(most + 1)])
    tails = steps.flip(0).cumsum(0).flip(0)
    rows = (torch.arange(height) - height // 2).abs()[:, None]
    columns = (torch.arange(width) - width // 2).abs()[None, :]
    return tails[torch.maximum(rows.expand(height, width), columns.expand(height, width))]


def _bump(side: int) -> Tensor:
    found = _rectangle(side, side)
    return found.div(torch.linalg.vector_norm(found))


def _halves(side: int) -> Tensor:
    """Two rectangles side by side, one up and one down, of length one."""
    upper, lower = _rectangle(side // 2, side), _rectangle(side - side // 2, side)
    found = torch.cat(
        [upper / torch.linalg.vector_norm(upper).clamp_min(_TINY), -lower / torch.linalg.vector_norm(lower)]
    )
    return found.div(torch.linalg.vector_norm(found))
