"""Several attacks, each on the examples that survived the ones before.

Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks", ICML 2020 (AutoAttack). Any number of classes from two up: targeted attacks take as many targets as there
are, and where the ratio of logit differences needs four classes, the plain difference takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from app.numerics.attacks.apgd import apgd_cross_entropy, apgd_targeted
from app.numerics.attacks.fab import fab_targeted
from app.numerics.attacks.losses import margin
from app.numerics.attacks.problem import Found, Network, Problem, judged
from app.numerics.attacks.region import Ball
from app.numerics.attacks.square import square

PROVEN, WRONG, UNBROKEN = -3, -2, -1
TARGETS = 9


@dataclass(frozen=True)
class Attack:
    """An attack with its settings."""

    name: str
    run: Callable[[Problem], Found]


@dataclass(frozen=True)
class Verdict:
    """What the attacks did to each example."""

    images: Tensor
    """float [n, …]: the most harmful image found, inside the ball; the image itself where it was wrong already."""
    margin: Tensor
    """[n]: label's logit less the largest other at that image, as a repeated pass through the network says."""
    taken: Tensor
    """int64 [n]: the class that the network gives that image."""
    broken_by: Tensor
    """int64 [n]: place of the attack that broke it; −1 unbroken, −2 wrong already, −3 proven."""


def standard(*, steps: int = 100, targets: int = TARGETS, queries: int = 5000, restarts: int = 1) -> tuple[Attack, ...]:
    """AutoAttack's standard ensemble: APGD-CE, targeted APGD, FAB-T, Square; 0 queries leave Square out."""
    found = (
        Attack("apgd-ce", partial(apgd_cross_entropy, steps=steps, restarts=restarts)),
        Attack("apgd-t", partial(apgd_targeted, steps=steps, targets=targets, restarts=restarts)),
        Attack("fab-t", partial(fab_targeted, steps=steps, targets=targets)),
    )
    return (*found, *black_box(queries=queries)) if queries else found


def black_box(*, queries: int = 5000) -> tuple[Attack, ...]:
    """What a network without gradients can be asked: Square alone."""
    return (Attack("square", partial(square, queries=queries)),)


def ensemble(
    network: Network,
    images: Tensor,
    labels: Tensor,
    ball: Ball,
    attacks: Sequence[Attack],
    *,
    keys: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 128,
    progress: Callable[[float], None] | None = None,
    prove: Callable[[Tensor], Tensor] | None = None,
) -> Verdict:
    """Run the attacks one after the other, each on the examples that are right so far.

    Args:
        network: pixels [n, …] in [0, 1] → logits [n, C], C ≥ 2.
        images: float [n, …] in [0, 1].
        labels: int64 [n].
        ball: how far an image may be changed.
        attacks: in their order.
        keys: int64 [n], what names an example to the random numbers; its place where absent.
        seed: of all random numbers.
        batch_size: examples at a time.
        progress: told the share of attacks and examples that are done.
        prove: places int64 [m] of examples → bool [m], which of them nothing inside the ball can break. It is asked
            after the first attack, the cheapest, about what that left; what is proven is attacked no further.

    Raises:
        ValueError: pixels outside [0, 1], a radius that is not positive, fewer than two classes.
    """
    keys = torch.arange(len(labels)) if keys is None else keys.cpu()
    problem = Problem.of(network, images, labels, ball, keys, seed)
    verdict = _clean(problem, batch_size)
    for place, attack in enumerate(attacks):
        left = (verdict.broken_by == UNBROKEN).nonzero()[:, 0]
        for rows in torch.split(left, batch_size) if len(left) else ():
            _replay(attack.run(problem.take(rows)), problem, rows, place, verdict)
            if progress:
                done = float((rows[-1] + 1) / max(len(labels), 1))
                progress((place + done) / len(attacks))
        if prove and place == 0:
            _spare(prove, verdict)
    return verdict


def _spare(prove: Callable[[Tensor], Tensor], verdict: Verdict) -> None:
    left = (verdict.broken_by == UNBROKEN).nonzero()[:, 0]
    if len(left):
        verdict.broken_by[left[prove(left)]] = PROVEN


def _clean(problem: Problem, batch_size: int) -> Verdict:
    parts = [
        problem.take(rows) for rows in torch.split(torch.arange(len(problem), device=problem.labels.device), batch_size)
    ]
    logits = torch.cat([judged(part, part.images) for part in parts]) if parts else problem.images.new_zeros(0, 2)
    if logits.shape[1] < 2:
        raise ValueError(f"attacks need two classes or more, the network has {logits.shape[1]}")
    taken = logits.argmax(1)
    broken_by = torch.where(taken == problem.labels, UNBROKEN, WRONG)
    return Verdict(problem.images.clone(), margin(logits, problem.labels), taken, broken_by)


def _replay(found: Found, problem: Problem, rows: Tensor, place: int, verdict: Verdict) -> None:
    """Ask the network once more about the images that an attack found, and keep what it says now."""
    logits = judged(problem.take(rows), found.images)
    there, taken = margin(logits, problem.labels[rows]), logits.argmax(1)
    broken = taken != problem.labels[rows]
    better = broken | (there < verdict.margin[rows])
    chosen = rows[better]
    verdict.images[chosen], verdict.margin[chosen] = found.images[better], there[better]
    verdict.taken[chosen] = taken[better]
    verdict.broken_by[rows[broken]] = place
