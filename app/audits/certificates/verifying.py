"""Complete verification of what bounds and attacks left undecided. Torch."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from app.audits.certificates.schema import COMPLETE, NOT_REPLAYED, SAFE, TIMEOUT, TOO_LARGE, UNSAFE
from app.audits.certificates.task import Task
from app.numerics.attacks.ensemble import Verdict
from app.numerics.attacks.losses import margin
from app.numerics.attacks.region import Ball, Region
from app.numerics.bounds.complete import complete
from app.numerics.bounds.program import Program


def verify(task: Task, program: Program) -> None:
    """Complete verification of what is undecided, by rising ε, within the time of an image and of the shard."""
    began = time.monotonic()
    for column in range(len(task.radii)):
        for place in task.evidence.undecided(column).tolist():
            if time.monotonic() - began > task.effort.together:
                return
            with task.spending(COMPLETE, 1):
                _verify(task, program, place, column)
        task.tell((column + 1) / len(task.radii))


def _verify(task: Task, program: Program, place: int, column: int) -> None:
    image, label, radius = task.images[place], int(task.labels[place]), task.radii[column]
    answer = complete(program, image, label, radius, task.effort.complete)
    said = {"proven": SAFE, "broken": UNSAFE, "timeout": TIMEOUT, "too_large": TOO_LARGE}[answer.status]
    if answer.counterexample is not None and not _replayed(task, place, column, answer.counterexample):
        said = NOT_REPLAYED
    task.evidence.complete[place, column] = said


@torch.no_grad()
def _replayed(task: Task, place: int, column: int, counterexample: Tensor) -> bool:
    """Show the network itself what verification found, held within the ball; whether it is wrong there."""
    image, label = task.images[place][None], task.labels[place][None]
    there = Region.around(image, Ball("Linf", task.radii[column])).project(counterexample.to(image).view_as(image))
    logits = task.network.forward(there)
    wrong = logits.argmax(1) != label
    verdict = Verdict(there, margin(logits, label), logits.argmax(1), torch.where(wrong, 0, -1))
    task.found(np.array([place]), column, verdict, COMPLETE)
    return bool(wrong)
