"""Complete verification: is there an image of the ball that the network gets wrong, or not?

Source: Katz et al., "Reluplex: an efficient SMT solver for verifying deep neural networks", CAV 2017, and its successor
Marabou (Katz et al., CAV 2019), whose Python package `maraboupy` solves the queries.
"""

from __future__ import annotations

import importlib.util
import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from app.numerics.bounds.backward import lower
from app.numerics.bounds.bends import MaxPool, Relu
from app.numerics.bounds.interval import FLOAT32, Bounds, ball
from app.numerics.bounds.layers import layer_bounds
from app.numerics.bounds.margins import differences
from app.numerics.bounds.ops import LinearOp
from app.numerics.bounds.program import Program
from app.numerics.bounds.query import Expression, Query, TooLarge, written

Status = Literal["proven", "broken", "timeout", "too_large"]
_SOLVER = 1e-6
"""How far Marabou's simplex may leave an equation unfulfilled."""


class NoVerifier(RuntimeError):
    """The package that verifies is not installed."""


@dataclass(frozen=True)
class Complete:
    """What complete verification says of one image."""

    status: Status
    """proven: no image of the ball is wrong, rounding in float32 included; broken: the counterexample is; timeout: not
    decided in time, or the least margin is nearer to zero than rounding; too_large: not tried."""
    counterexample: Tensor | None
    """float32 [channels, height, width] inside the ball, which the program itself gives another class."""
    seconds: float


def unavailable() -> str:
    """Why nothing can be verified here; empty where it can."""
    if importlib.util.find_spec("maraboupy"):
        return ""
    return (
        "Complete verification needs the package maraboupy, which exists for Python up to 3.11 on x86-64 Linux and "
        "macOS (pip install 'faultline[proofs]')."
    )


@torch.no_grad()
def complete(program: Program, image: Tensor, label: int, radius: float, seconds: float) -> Complete:
    """Decide whether an image of an L∞ ball within [0, 1] is given another class.

    Args:
        program: the network.
        image: float32 [channels, height, width] in [0, 1].
        label: its class.
        radius: of the ball.
        seconds: to spend at most, about: the solver looks at the clock now and then.

    Raises:
        NoVerifier: `maraboupy` is not installed.
    """
    if why := unavailable():
        raise NoVerifier(why)
    began = time.monotonic()
    image = image.cpu()
    own = program.to(image.double())
    bounds = layer_bounds(own, ball(image[None], radius), "crown", FLOAT32)
    rows = differences(torch.tensor([label]), own.classes)
    least = lower(own, bounds, len(own.steps), rows, "crown")[0]
    try:
        query, logits = written(own, bounds) if bool((least <= 0).any()) else (Query(), None)
    except TooLarge:
        return Complete("too_large", None, time.monotonic() - began)
    search = _Search(own, image, label, radius, began + seconds, query)
    status: Status = "proven"
    for place in least.argsort().tolist():
        if logits is None or least[place] > 0:
            break
        row = rows[0, place]
        error = float(row.abs() @ drift(own, bounds)[0]) + _SOLVER
        answer, found = search.ask(row, logits, error)
        if found is not None:
            return Complete("broken", found, time.monotonic() - began)
        status = "timeout" if answer != "unsat" else status
    return Complete(status, None, time.monotonic() - began)


def drift(program: Program, bounds: Bounds) -> Tensor:
    """How far rounding can move each logit of any image within the bounds from exact arithmetic's: double [b, C]."""
    moved = [torch.zeros_like(bounds.low[0])]
    for place, step in enumerate(program.steps, 1):
        inputs = [moved[source] for source in step.inputs]
        slack = bounds.slack[place]
        if isinstance(step.op, LinearOp):
            out = step.op.magnitude(*inputs)
            moved.append(out if slack is None else out + slack)
        elif isinstance(step.op, Relu):
            moved.append(inputs[0] * (bounds.high[step.inputs[0]] > 0))
        else:
            assert isinstance(step.op, MaxPool)
            moved.append(step.op.apply(*inputs))
    return moved[-1]


@dataclass
class _Search:
    program: Program
    image: Tensor
    label: int
    radius: float
    deadline: float
    query: Query

    def ask(self, row: Tensor, logits: Expression, error: float) -> tuple[str, Tensor | None]:
        """unsat: the margin stays above the error everywhere; else what the solver says, or a counterexample."""
        answer, pixels = self._solve(row, logits, error)
        if answer != "sat":
            return answer, None
        if (found := self._replay(pixels)) is not None:
            return answer, found
        answer, pixels = self._solve(row, logits, -error)
        return "close", self._replay(pixels) if answer == "sat" else None

    def _solve(self, row: Tensor, logits: Expression, most: float) -> tuple[str, list[float]]:
        left = self.deadline - time.monotonic()
        if left <= 0:
            return "TIMEOUT", []
        weights, constant = logits.grown(len(self.query.low)) @ row, float(logits.constant[0] @ row)
        answer, values = _marabou(self.query, weights, most - constant, left)
        return answer, [values[i] for i in range(self.image.numel())] if answer == "sat" else []

    def _replay(self, pixels: list[float]) -> Tensor | None:
        """The image that the solver found, held inside the ball; none where the program gets it right."""
        centre = self.image.double()
        near = torch.tensor(pixels, dtype=torch.float64).view_as(centre)
        near = near.clamp(0, 1).maximum(centre - self.radius).minimum(centre + self.radius)
        found = near.float()
        beyond = (found.double() - centre).abs() > self.radius
        found = torch.where(beyond, found.nextafter(self.image), found)
        return found if int(self.program.forward(found[None]).argmax(1)) != self.label else None


def _marabou(query: Query, weights: Tensor, most: float, seconds: float) -> tuple[str, dict[int, float]]:
    """Solve the query with `weights · variables ≤ most`."""
    from maraboupy import MarabouCore  # noqa: PLC0415

    asked = MarabouCore.InputQuery()
    count = len(query.low)
    asked.setNumberOfVariables(count)
    for variable, (low, high) in enumerate(zip(query.low, query.high, strict=True)):
        asked.setLowerBound(variable, low)
        asked.setUpperBound(variable, high)
    for coefficients, variables, total in query.equations:
        asked.addEquation(_equation(MarabouCore, coefficients, variables, total))
    for before, after in query.relus:
        MarabouCore.addReluConstraint(asked, before, after)
    used = weights.nonzero()[:, 0].tolist()
    goal = _equation(MarabouCore, weights[used].tolist(), used, most, MarabouCore.Equation.LE)
    asked.addEquation(goal)
    options = MarabouCore.Options()
    options._verbosity, options._timeoutInSeconds = 0, max(math.ceil(seconds), 1)
    answer, values, _ = MarabouCore.solve(asked, options, "")
    return answer, values


def _equation(core: Any, coefficients: list[float], variables: list[int], total: float, kind: Any = None) -> Any:
    equation = core.Equation() if kind is None else core.Equation(kind)
    for coefficient, variable in zip(coefficients, variables, strict=True):
        equation.addAddend(coefficient, variable)
    equation.setScalar(total)
    return equation
