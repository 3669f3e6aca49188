"""Guaranteed lower bounds of a network's margin over balls of images."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.bounds.backward import lower
from app.numerics.bounds.interval import FLOAT32, Bounds, ball, interval_bounds
from app.numerics.bounds.layers import layer_bounds
from app.numerics.bounds.ops import LinearOp
from app.numerics.bounds.program import Program

Method = Literal["ibp", "wong_kolter", "crown"]
METHODS: tuple[Method, ...] = get_args(Method)
_VALUES = 2**22


@torch.no_grad()
def margin_bounds(
    program: Program, images: Tensor, labels: Tensor, radius: float, method: Method, *, unit: float = FLOAT32
) -> Tensor:
    """Bound from below the least margin over all images of an L∞ ball that lie in [0, 1].

    The margin is the label's logit less the largest other. A bound above zero proves that no such image is given
    another class, also where the network computes in float32 and whichever order its sums are taken in: what rounding
    may do is part of the bound (`app.numerics.bounds.interval`). Underflow and arithmetic coarser than `unit`, such
    as TF32, are not.

    Args:
        program: the network.
        images: float32 [b, channels, height, width] in [0, 1].
        labels: int64 [b].
        radius: of the ball, in pixels' units; not negative.
        method: ibp, the cheapest; wong_kolter, the convex outer polytope with its own bounds of every layer; crown,
            linear bounds intersected with ibp's at every layer, so that what ibp proves crown proves.
        unit: unit roundoff of the network's arithmetic; 0 for the bound of exact arithmetic.

    Returns:
        float32 [b]; −∞ where a bound is not finite.

    Raises:
        ValueError: a pixel outside [0, 1], a negative radius, a label that is no class, shapes that do not fit.
    """
    _check(program, images, labels, radius)
    program = program.to(images.double())
    size = max(_VALUES // sum(math.prod(shape) for shape in program.shapes), 1)
    parts = [
        _margins(program, ball(part, radius, unit), own, method, unit)
        for part, own in zip(torch.split(images, size), torch.split(labels, size), strict=True)
    ]
    found = torch.cat(parts) if parts else images.new_zeros(0).double()
    return _downwards(found.nan_to_num(-math.inf, math.inf, -math.inf))


def _check(program: Program, images: Tensor, labels: Tensor, radius: float) -> None:
    if tuple(images.shape[1:]) != program.shapes[0] or labels.shape != images.shape[:1]:
        raise ValueError(
            f"images {tuple(images.shape)} and labels {tuple(labels.shape)} do not fit {program.shapes[0]}"
        )
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError("pixels must lie in [0, 1]")
    if not (radius >= 0 and math.isfinite(radius)):
        raise ValueError(f"the radius must not be negative, and is {radius}")
    if not bool(((labels >= 0) & (labels < program.classes)).all()):
        raise ValueError(f"labels must lie between 0 and {program.classes - 1}")


def _margins(program: Program, bounds: Bounds, labels: Tensor, method: Method, unit: float) -> Tensor:
    rows = differences(labels, program.classes)
    last = len(program.steps)
    if method == "wong_kolter":
        return lower(program, layer_bounds(program, bounds, method, unit), last, rows, method).amin(1)
    pixels = bounds.take(slice(None))
    cheap = _merged(program, interval_bounds(program, bounds, unit), rows)
    if method == "ibp":
        return cheap.amin(1)
    refined = layer_bounds(program, pixels, "crown", unit)
    dear = lower(program, refined, last, rows, "crown")
    return torch.maximum(torch.maximum(cheap, _merged(program, refined, rows)), dear).amin(1)


def differences(labels: Tensor, classes: int) -> Tensor:
    """Rows [b, C − 1, C] with +1 at the label and −1 at each other class."""
    same = functional.one_hot(labels, classes).double()
    others = torch.arange(classes, device=labels.device).expand(len(labels), -1)
    others = others[others != labels[:, None]].view(len(labels), classes - 1)
    return same[:, None] - functional.one_hot(others, classes).double()


def _merged(program: Program, bounds: Bounds, rows: Tensor) -> Tensor:
    """The rows on interval bounds of the last activation that is not a linear function of one before it."""
    stop = last = len(program.steps)
    while stop and isinstance(program.steps[stop - 1].op, LinearOp) and len(program.steps[stop - 1].inputs) == 1:
        stop = program.steps[stop - 1].inputs[0]
    return lower(program, bounds, last, rows, "crown", stop)


def _downwards(found: Tensor) -> Tensor:
    """In float32, never above the number that it stands for."""
    rounded = found.float()
    return torch.where(rounded.double() > found, rounded.nextafter(rounded.new_tensor(-math.inf)), rounded)
