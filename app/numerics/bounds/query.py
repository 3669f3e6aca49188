"""A network around one image as variables, linear equations and the bends whose side is open.

What bounds decide is put in as it is: a ReLU that is always on passes its input on, one that is always off is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.bounds.bends import MaxPool, Relu
from app.numerics.bounds.interval import Bounds
from app.numerics.bounds.ops import LinearOp
from app.numerics.bounds.program import Program

MAX_OPEN = 600
_MAX_COEFFICIENTS = 2**26


class TooLarge(ValueError):
    """More open bends or coefficients than complete verification is tried on."""


@dataclass(frozen=True)
class Expression:
    """An activation as a linear function of variables."""

    weights: Tensor
    """double [v, …shape], of the first v variables."""
    constant: Tensor
    """double [1, …shape]."""

    def grown(self, count: int) -> Tensor:
        """The weights of `count` variables."""
        missing = count - len(self.weights)
        return torch.cat([self.weights, self.weights.new_zeros(missing, *self.weights.shape[1:])])


@dataclass
class Query:
    """Variables in order, those of the pixels first."""

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    equations: list[tuple[list[float], list[int], float]] = field(default_factory=list)
    """Coefficients, variables and what their products add up to."""
    relus: list[tuple[int, int]] = field(default_factory=list)
    """Input and output."""

    def variables(self, low: Tensor, high: Tensor) -> range:
        """Append variables with these bounds [m]."""
        first = len(self.low)
        self.low += low.tolist()
        self.high += high.tolist()
        return range(first, len(self.low))

    def equal(self, variable: int, weights: Tensor, constant: float) -> None:
        """State that a variable is a linear function, weights [v], of the first v."""
        used = weights.nonzero()[:, 0]
        self.equations.append(([*weights[used].tolist(), -1.0], [*used.tolist(), variable], -constant))


def written(program: Program, bounds: Bounds) -> tuple[Query, Expression]:
    """Write a program within bounds of one image's activations; returns the query and the logits.

    Raises:
        TooLarge: more than `MAX_OPEN` bends are open, or the coefficients would fill the memory.
    """
    _check(program, bounds)
    query = Query()
    pixels = query.variables(bounds.low[0].flatten(), bounds.high[0].flatten())
    shape = program.shapes[0]
    unit = torch.eye(len(pixels), dtype=torch.float64).view(-1, *shape)
    values = [Expression(unit, unit.new_zeros(1, *shape))]
    for step in program.steps:
        inputs = [values[place] for place in step.inputs]
        if isinstance(step.op, LinearOp):
            values.append(_linear(step.op, inputs))
            continue
        low, high = (part[step.inputs[0]][0] for part in (bounds.low, bounds.high))
        if isinstance(step.op, MaxPool):
            values.append(_maximum(query, step.op, inputs[0], low, high))
        else:
            values.append(_relu(query, inputs[0], low, high))
    return query, values[-1]


def _check(program: Program, bounds: Bounds) -> None:
    bends = [step for step in program.steps if isinstance(step.op, Relu)]
    count = sum(int(((bounds.low[s.inputs[0]] < 0) & (bounds.high[s.inputs[0]] > 0)).sum()) for s in bends)
    variables = math.prod(program.shapes[0]) + 2 * count
    if count > MAX_OPEN or variables * max(math.prod(shape) for shape in program.shapes) > _MAX_COEFFICIENTS:
        raise TooLarge(f"{count} ReLUs are open")


def _linear(op: LinearOp, inputs: list[Expression]) -> Expression:
    count = max(len(value.weights) for value in inputs)
    weights = op.linear(*(value.grown(count) for value in inputs))
    return Expression(weights, op.apply(*(value.constant for value in inputs)))


def _relu(query: Query, x: Expression, low: Tensor, high: Tensor) -> Expression:
    low, high = low.flatten(), high.flatten()
    places = ((low < 0) & (high > 0)).nonzero()[:, 0]
    weights, constants = x.weights.flatten(1), x.constant.flatten()
    before = query.variables(low[places], high[places])
    after = query.variables(torch.zeros_like(low[places]), high[places])
    for own, place in zip(before, places.tolist(), strict=True):
        query.equal(own, weights[:, place], float(constants[place]))
    query.relus += list(zip(before, after, strict=True))
    on = low >= 0
    passed = Expression(weights * on, constants * on).grown(len(query.low))
    passed[list(after), places] = 1
    shape = x.constant.shape[1:]
    return Expression(passed.view(-1, *shape), (constants * on).view(1, *shape))


def _maximum(query: Query, op: MaxPool, x: Expression, low: Tensor, high: Tensor) -> Expression:
    """Each window's maximum as a chain: max(a, b) = a + ReLU(b − a)."""
    shape = low.shape
    windows = op.places(tuple(shape)).transpose(1, 2).flatten(0, 1)
    columns, constants = [], []
    for window in windows:
        inside = window[window >= 0]
        able = inside[high.flatten()[inside] >= low.flatten()[inside].max()]
        weights, constant = _chain(query, x, low.flatten(), high.flatten(), able.tolist())
        columns.append(weights)
        constants.append(constant)
        if len(query.relus) > MAX_OPEN:
            raise TooLarge(f"{len(query.relus)} ReLUs and maxima are open")
    found = torch.stack([functional.pad(column, (0, len(query.low) - len(column))) for column in columns], 1)
    out = op.apply(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:]
    return Expression(found.view(-1, *out), torch.tensor(constants, dtype=torch.float64).view(1, *out))


def _chain(query: Query, x: Expression, low: Tensor, high: Tensor, places: list[int]) -> tuple[Tensor, float]:
    """Coefficients [v] and constant of the largest of these places of x."""
    weights, constants = x.weights.flatten(1), x.constant.flatten()
    first, *others = places
    most, constant = weights[:, first], float(constants[first])
    least, greatest = low[first], high[first]
    for place in others:
        own = functional.pad(weights[:, place], (0, len(most) - len(weights)))
        (before,) = query.variables((low[place] - greatest)[None], (high[place] - least)[None])
        (after,) = query.variables(torch.zeros(1), (high[place] - least).clamp_min(0)[None])
        query.equal(before, own - most, float(constants[place]) - constant)
        query.relus.append((before, after))
        most = functional.pad(most, (0, len(query.low) - len(most)))
        most[after] = 1
        least, greatest = torch.maximum(least, low[place]), torch.maximum(greatest, high[place])
    return most, constant
