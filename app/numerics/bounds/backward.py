"""Linear bounds taken backwards through a program: CROWN and the dual of the convex outer polytope.

Sources: Zhang et al., "Efficient neural network robustness certification with general activation functions", NeurIPS
2018 (CROWN); Wong and Kolter, "Provable defenses against adversarial examples via the convex outer adversarial
polytope", ICML 2018, section 3 (the slope u / (u − l) on both sides).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from app.numerics.bounds.bends import MaxPool, Relu
from app.numerics.bounds.interval import Bounds
from app.numerics.bounds.ops import LinearOp
from app.numerics.bounds.program import Program, Step

Slopes = Literal["wong_kolter", "crown"]
_UP = 1 + 2.0**-50


def lower(program: Program, bounds: Bounds, place: int, rows: Tensor, slopes: Slopes, stop: int = 0) -> Tensor:
    """Guaranteed least values of linear functions of the activation at `place`.

    Args:
        bounds: of all activations before `place`, of b images.
        rows: double [b, k, …shape of the activation], coefficients of k functions for each image.
        slopes: how ReLU is bounded from below where its sign is open.
        stop: the place whose bounds the functions are at last evaluated on; all ways lead there.

    Returns:
        double [b, k].
    """
    waiting = {place: rows}
    total = rows.new_zeros(rows.shape[:2])
    for here in range(place, stop, -1):
        if here in waiting:
            step = program.steps[here - 1]
            parts, constant = _through(program, bounds, here, waiting.pop(here), slopes)
            total += constant
            for source, part in zip(step.inputs, parts, strict=True):
                waiting[source] = waiting[source] + part if source in waiting else part
    return total + least(waiting[stop], bounds.low[stop], bounds.high[stop])


def least(rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The least values of rows [b, k, …] on boxes [b, …]: double [b, k]."""
    return _dot(rows, (low + high) / 2) - _dot(rows.abs(), (high - low) / 2)


def _dot(rows: Tensor, values: Tensor) -> Tensor:
    return (rows.flatten(2) @ values.flatten(1)[:, :, None])[..., 0]


def _through(
    program: Program, bounds: Bounds, place: int, rows: Tensor, slopes: Slopes
) -> tuple[tuple[Tensor, ...], Tensor]:
    step = program.steps[place - 1]
    if isinstance(step.op, LinearOp):
        return _linear(program, step, rows, bounds.slack[place])
    source = step.inputs[0]
    if isinstance(step.op, MaxPool):
        return _max_pool(step.op, rows, bounds.low[source], bounds.high[source])
    assert isinstance(step.op, Relu)
    return _relu(rows, bounds.low[source], bounds.high[source], slopes)


def _linear(program: Program, step: Step, rows: Tensor, slack: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor]:
    op = step.op
    assert isinstance(op, LinearOp)
    constant = rows.new_zeros(rows.shape[:2])
    if slack is not None:
        constant = constant - _dot(rows.abs(), slack)
    if op.offset is not None:
        constant = constant + rows.flatten(2) @ op.offset.broadcast_to(rows.shape[2:]).flatten()
    parts = op.adjoint(rows.flatten(0, 1), [program.shapes[source] for source in step.inputs])
    return tuple(part.view(*rows.shape[:2], *part.shape[1:]) for part in parts), constant


def relaxation(low: Tensor, high: Tensor, slopes: Slopes) -> tuple[Tensor, Tensor, Tensor]:
    """Slope from below, slope from above and its constant: lines that keep ReLU between them on [low, high]."""
    is_open = (low < 0) & (high > 0)
    chord = (high / (high - low)).where(is_open, (low >= 0).to(low))
    constant = (-low * chord * _UP * _UP).where(is_open, 0)
    if slopes == "crown":
        return (high > -low).to(low).where(is_open, chord), (chord * _UP).where(is_open, chord), constant
    return chord, chord, constant


def _relu(rows: Tensor, low: Tensor, high: Tensor, slopes: Slopes) -> tuple[tuple[Tensor, ...], Tensor]:
    below, above, constant = relaxation(low, high, slopes)
    negative = rows.clamp_max(0)
    back = rows * below[:, None]
    if slopes == "crown":
        back.addcmul_(negative, (above - below)[:, None])
    return (back,), _dot(negative, constant)


def _max_pool(op: MaxPool, rows: Tensor, low: Tensor, high: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """From below the input whose least value is largest; from above the same where it always wins, else a constant."""
    shape = low.shape[1:]
    places = op.places(tuple(shape)).to(low.device).expand(len(low), -1, -1, -1)
    best, window = op.windows(low).max(2)
    window = window[:, :, None]
    others = op.windows(high).scatter(2, window, -torch.inf).amax(2)
    chosen = places.gather(2, window).flatten(1)[:, None]
    wins = (others <= best).flatten(1)[:, None]
    largest = op.apply(high).flatten(1)[:, None]
    flat = rows.flatten(2)
    negative = flat.clamp_max(0)
    passed = flat.where(wins, flat.clamp_min(0))
    back = rows.new_zeros(*rows.shape[:2], shape.numel())
    back.scatter_add_(2, chosen.expand_as(passed), passed)
    return (back.view(*rows.shape[:2], *shape),), (negative * largest).masked_fill(wins, 0).sum(2)
