"""The attacks of a budget."""

from __future__ import annotations

from functools import partial

from app.audits.attacks.budgets import Effort
from app.audits.attacks.schema import NAMES
from app.numerics.attacks.apgd import apgd_cross_entropy, apgd_targeted
from app.numerics.attacks.ensemble import Attack
from app.numerics.attacks.fab import fab_targeted
from app.numerics.attacks.square import square


def arsenal(effort: Effort, *, gradients: bool) -> list[Attack]:
    """The attacks in their order, under the names of `schema.NAMES`; without gradients Square alone."""
    last = Attack(NAMES[3], partial(square, queries=effort.queries))
    if not gradients:
        return [last]
    steps, targets, restarts = effort.steps, effort.targets, effort.restarts
    first = Attack(NAMES[0], partial(apgd_cross_entropy, steps=steps, restarts=restarts))
    second = Attack(NAMES[1], partial(apgd_targeted, steps=steps, targets=targets, restarts=restarts))
    third = Attack(NAMES[2], partial(fab_targeted, steps=steps, targets=targets, restarts=restarts))
    return [first, second, third, last] if effort.fab else [first, second, last]
