"""Frosted glass: pixels change places with near ones, one after the other from the last to the first.

A pixel whose turn has come takes the value that stands at a random near place *at that time*, so that values wander.
The walk is a chain of places; all chains are followed at once by doubling.
"""

from __future__ import annotations

import torch
from torch import Tensor

from app.numerics.corruptions.draws import Draws
from app.numerics.corruptions.filters import smoothed


def glass_blur(pictures: Tensor, parameters: tuple[float, int, int], draws: Draws) -> Tensor:
    """Smooth, scatter pixels to near places, smooth again; uint8 [n, 3, h, w] → float64 in [0, 255]."""
    deviation, farthest, rounds = parameters
    blurred = (smoothed(pictures.double() / 255, deviation) * 255).to(torch.uint8)
    height, width = pictures.shape[2:]
    turns = (max(height - 2 * farthest, 0), max(width - 2 * farthest, 0))
    places = torch.arange(height * width, device=pictures.device).expand(len(pictures), -1)
    for _ in range(rounds):
        shifts = draws.integers(-farthest, farthest, 2, *turns)
        places = places.gather(1, sources(shifts, farthest, height, width))
    found = blurred.flatten(2).gather(2, places[:, None].expand(-1, 3, -1)).view_as(blurred)
    return smoothed(found.double() / 255, deviation).clamp_(0, 1) * 255


def sources(shifts: Tensor, farthest: int, height: int, width: int) -> Tensor:
    """Where each pixel's value comes from after one round.

    Args:
        shifts: integers in [−farthest, farthest), [n, 2, height − 2·farthest, width − 2·farthest]: how far right and
            how far down each pixel looks, for the pixels from (farthest + 1, farthest + 1) on, whose turn comes last
            row and column first.

    Returns:
        int64 [n, height·width], flat places.
    """
    n, count, start = len(shifts), height * width, farthest + 1
    rows = torch.arange(start, start + shifts.shape[2], device=shifts.device)[:, None]
    columns = torch.arange(start, start + shifts.shape[3], device=shifts.device)
    right, down = shifts.long().unbind(1)
    far_rows, far_columns = rows + down, columns + right
    had_its_turn = (down > 0) | ((down == 0) & (right > 0))
    for places, end in ((far_rows, height - farthest), (far_columns, width - farthest)):
        had_its_turn &= (places >= start) & (places <= end)
    # Below `count`: the place itself; from there on: whatever the pixel of that place took when its turn came.
    step = far_rows * width + far_columns + had_its_turn * count
    places = torch.arange(count, device=shifts.device).expand(n, -1).clone()
    places.view(n, height, width)[:, start : start + step.shape[1], start : start + step.shape[2]] = step
    own = torch.arange(count, device=shifts.device).expand(n, -1)
    while bool((places >= count).any()):
        places = torch.cat([own, places], dim=1).gather(1, places)
    return places
