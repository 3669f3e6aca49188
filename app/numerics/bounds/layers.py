"""Bounds of every layer, each from linear bounds of the layers before it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.bounds.backward import Slopes, lower
from app.numerics.bounds.bends import MaxPool, Relu
from app.numerics.bounds.interval import Bounds, step_interval
from app.numerics.bounds.ops import LinearOp
from app.numerics.bounds.program import Program, mixing

_COEFFICIENTS = {"cpu": 2**19, "cuda": 2**25}
"""Coefficients that are held at once, in any one activation: few enough for a processor's cache."""


def layer_bounds(program: Program, bounds: Bounds, slopes: Slopes, unit: float) -> Bounds:
    """Go through the whole program from the image's bounds; returns `bounds`, filled.

    With CROWN's slopes every layer's bounds are intersected with interval bounds from the layer before, and only
    those whose sign is open are computed; with Wong and Kolter's they stand alone.
    """
    bent = to_refine(program)
    for place in range(1, len(program.shapes)):
        low, high, slack = step_interval(program, bounds, place, unit)
        bounds.append(low, high, slack)
        if place in bent:
            _refine(program, bounds, place, slopes)
    return bounds


def to_refine(program: Program) -> set[int]:
    """Places before a ReLU or a maximum whose interval bounds need not be exact."""
    single = {0: True}
    for place, step in enumerate(program.steps, 1):
        straight = len(step.inputs) == 1 and single[step.inputs[0]] and isinstance(step.op, LinearOp)
        single[place] = straight and not (mixing(step.op) and step.inputs[0] and _mixed(program, step.inputs[0]))
    bent = {step.inputs[0] for step in program.steps if isinstance(step.op, Relu | MaxPool)}
    return {place for place in bent if not single[place] and not _is_relu(program, place)}


def _mixed(program: Program, place: int) -> bool:
    while place:
        step = program.steps[place - 1]
        if mixing(step.op):
            return True
        place = step.inputs[0]
    return False


def _is_relu(program: Program, place: int) -> bool:
    return place > 0 and isinstance(program.steps[place - 1].op, Relu)


def _refine(program: Program, bounds: Bounds, place: int, slopes: Slopes) -> None:
    low, high = bounds.low[place].flatten(1), bounds.high[place].flatten(1)
    pooled = any(isinstance(step.op, MaxPool) and place in step.inputs for step in program.steps)
    asked = torch.ones_like(low, dtype=torch.bool) if pooled or slopes == "wong_kolter" else (low < 0) & (high > 0)
    new_low, new_high = low.clone(), high.clone()
    for images, places in _chunks(asked, max(math.prod(shape) for shape in program.shapes[: place + 1])):
        part = bounds.take(images)
        source, rows, constant, slack = _start(program, part, place, places)
        least = constant - slack + lower(program, part, source, rows, slopes)
        most = constant + slack - lower(program, part, source, -rows, slopes)
        new_low[images] = new_low[images].scatter(1, places, least)
        new_high[images] = new_high[images].scatter(1, places, most)
    if slopes == "crown":
        new_low, new_high = torch.maximum(low, new_low), torch.minimum(high, new_high)
    shape = program.shapes[place]
    bounds.low[place], bounds.high[place] = new_low.view(-1, *shape), new_high.view(-1, *shape)


def _chunks(asked: Tensor, width: int) -> Iterator[tuple[slice, Tensor]]:
    """Images and, int64 [b, k], places among which are all that are asked of them; b · k · width stays bounded."""
    counts = asked.sum(1)
    start, held = 0, max(_COEFFICIENTS.get(asked.device.type, 2**19) // width, 1)
    while start < len(asked):
        stop, most = start, 0
        while stop < len(asked):
            wider = max(most, int(counts[stop]))
            if stop > start and wider * (stop + 1 - start) > held:
                break
            stop, most = stop + 1, wider
        if most:
            order = asked[start:stop].to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
            for places in torch.split(order, max(held // (stop - start), 1), dim=1):
                yield slice(start, stop), places
        start = stop


def _start(program: Program, bounds: Bounds, place: int, places: Tensor) -> tuple[int, Tensor, Tensor, Tensor]:
    """Values of the activation at flat `places` [b, k] as functions of one before: its place, rows, constant, slack."""
    step, shape = program.steps[place - 1], program.shapes[place]
    none = torch.zeros_like(places, dtype=torch.float64)
    rows = None
    if isinstance(step.op, LinearOp) and len(step.inputs) == 1:
        rows = step.op.pick(places.flatten(), program.shapes[step.inputs[0]], shape)
    if rows is None or not isinstance(step.op, LinearOp):
        own = functional.one_hot(places, math.prod(shape)).double()
        return place, own.view(*places.shape, *shape), none, none
    slack, offset = bounds.slack[place], step.op.offset
    constant = none if offset is None else offset.broadcast_to(shape).flatten()[places]
    moved = none if slack is None else slack.flatten(1).gather(1, places)
    return step.inputs[0], rows.view(*places.shape, *rows.shape[1:]), constant, moved
