"""The steps that break images: a cheap attack first, the dear ones on what is undecided. Torch."""

from __future__ import annotations

from functools import partial

import torch

from app.audits.attacks.arsenal import arsenal
from app.audits.attacks.budgets import EFFORTS as ATTACK_EFFORTS
from app.audits.attacks.schema import SQUARE
from app.audits.certificates.schema import FIRST_ATTACK, PGD, STEPS
from app.audits.certificates.task import Task
from app.numerics.attacks.ensemble import Attack
from app.numerics.attacks.pgd import pgd


@torch.no_grad()
def ask_clean(task: Task) -> None:
    """See which images are right as they are."""
    logits = task.network.forward(task.images)
    others = logits.scatter(1, task.labels[:, None], -torch.inf).amax(1)
    task.margin[:, 0] = (logits.gather(1, task.labels[:, None])[:, 0] - others).cpu().numpy()
    task.taken[:, 0] = logits.argmax(1).cpu().numpy()
    task.evidence.right[:] = task.taken[:, 0] == task.labels.cpu().numpy()


def attack_cheaply(task: Task) -> None:
    """PGD at each ε, on the images that withstood the smaller ones; nothing where there are no gradients."""
    if task.network.reason:
        return
    attack = Attack(STEPS[PGD], partial(pgd, steps=task.effort.steps))
    for column in range(len(task.radii)):
        task.attacked(task.evidence.undecided(column), column, [attack], PGD)


def attack_undecided(task: Task) -> None:
    """AutoAttack's standard ensemble on what is neither proven nor broken; without gradients Square, on any budget."""
    gradients, wanted = not task.network.reason, task.effort.ensemble
    if gradients and not wanted:
        return
    attacks = arsenal(ATTACK_EFFORTS["standard" if wanted else "quick"], gradients=gradients)
    first = FIRST_ATTACK + (0 if gradients else SQUARE)
    for column in range(len(task.radii)):
        task.attacked(task.evidence.undecided(column), column, attacks, first)
