"""Interval bound propagation, and what rounding adds at each step.

Source: Gowal et al., "Scalable verified training for provably robust image classification", ICCV 2019 (arXiv
1810.12715), section 3. Rounding: Higham, "Accuracy and stability of numerical algorithms", section 3.1: a sum of n
rounded products is off by at most n u / (1 − n u) times the sum of their magnitudes, in whatever order it is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.numerics.bounds.bends import MaxPool, Relu
from app.numerics.bounds.ops import LinearOp, Op
from app.numerics.bounds.program import Program

FLOAT32 = 2.0**-24
"""Unit roundoff of the network's own arithmetic; 0 gives the bounds of exact arithmetic."""
_OWN = 1 + 2.0**-10
"""The bounds are computed in double precision, whose roundings are smaller by 2²⁹ at each step."""


@dataclass
class Bounds:
    """What is known of each activation of some images, in double precision; place 0 is the image."""

    low: list[Tensor] = field(default_factory=list)
    """[b, …] each."""
    high: list[Tensor] = field(default_factory=list)
    slack: list[Tensor | None] = field(default_factory=list)
    """How far rounding can move the step's result from the exact one of its inputs; none where it cannot."""

    def append(self, low: Tensor, high: Tensor, slack: Tensor | None) -> None:
        """Add the next activation's."""
        self.low.append(low)
        self.high.append(high)
        self.slack.append(slack)

    def take(self, rows: slice) -> Bounds:
        """Return those of some images."""
        slack = [None if value is None else value[rows] for value in self.slack]
        return Bounds([value[rows] for value in self.low], [value[rows] for value in self.high], slack)


def ball(images: Tensor, radius: float, unit: float = FLOAT32) -> Bounds:
    """Bounds of the pixels [b, …] that are at most `radius` away, and in [0, 1]; an attack may leave them rounded."""
    pixels = images.double()
    reach = radius + unit
    return Bounds([(pixels - reach).clamp_min(0)], [(pixels + reach).clamp_max(1)], [None])


def interval(op: Op, low: list[Tensor], high: list[Tensor], unit: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """Bounds of an operation's output and its slack, from those of its inputs, all [b, …]."""
    if isinstance(op, Relu | MaxPool):
        return op.apply(*low), op.apply(*high), None
    assert isinstance(op, LinearOp)
    if not op.roundings:
        return op.apply(*low), op.apply(*high), None
    centre = op.apply(*((a + b) / 2 for a, b in zip(low, high, strict=True)))
    reach = op.magnitude(*((b - a) / 2 for a, b in zip(low, high, strict=True)))
    if not unit:
        return centre - reach, centre + reach, None
    size = op.magnitude(*(torch.maximum(a.abs(), b.abs()) for a, b in zip(low, high, strict=True)))
    if op.offset_size is not None:
        size = size + op.offset_size
    slack = size * rounding(op.roundings, unit)
    return centre - reach - slack, centre + reach + slack, slack


def rounding(count: int, unit: float) -> float:
    """The largest relative error of a sum with `count` roundings on its longest way."""
    share = count * unit
    return share / (1 - share) * _OWN if share < 1 else math.inf


def step_interval(program: Program, bounds: Bounds, place: int, unit: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """Bounds and slack of the activation at `place` from those before it."""
    step = program.steps[place - 1]
    return interval(step.op, [bounds.low[i] for i in step.inputs], [bounds.high[i] for i in step.inputs], unit)


def interval_bounds(program: Program, bounds: Bounds, unit: float = FLOAT32) -> Bounds:
    """Go through the whole program from the image's bounds; returns `bounds`, filled."""
    for place in range(1, len(program.shapes)):
        bounds.append(*step_interval(program, bounds, place, unit))
    return bounds
