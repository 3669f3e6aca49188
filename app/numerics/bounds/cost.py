"""What bounds cost, before they are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.numerics.bounds.layers import to_refine
from app.numerics.bounds.ops import Conv, Linear, Op, Shape
from app.numerics.bounds.program import Program

_INTERVAL = 10.0
"""Three passes, in double precision."""
_BACKWARD = 2.0
"""A product of coefficients in double precision, with what is done beside it."""
_OPEN = 0.4
"""Share of ReLUs whose sign is open that is reckoned with."""


@dataclass(frozen=True)
class Cost:
    """What one image costs with each method, in forward passes through the network."""

    ibp: float
    wong_kolter: float
    crown: float
    """Where four in ten ReLUs are open; small balls cost less."""


def cost(program: Program) -> Cost:
    """Estimate the cost of an image's bounds from the shapes alone; within a factor of about three."""
    products = [0, *(_products(step.op, shape) for step, shape in zip(program.steps, program.shapes[1:], strict=True))]
    once = sum(products)
    every = program.classes - 1.0
    dear = every * once
    for place in to_refine(program):
        own = program.steps[place - 1].op
        before = sum(products[: place + (not isinstance(own, Conv | Linear))])
        dear += 2 * math.prod(program.shapes[place]) * before
    found = _BACKWARD * dear / once
    return Cost(_INTERVAL, _INTERVAL + found, 2 * _INTERVAL + _OPEN * found)


def _products(op: Op, shape: Shape) -> int:
    each = op.weight[0].numel() if isinstance(op, Conv | Linear) else 1
    return math.prod(shape) * each
