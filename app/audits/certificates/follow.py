"""Whether proofs can follow a network, and whether the dear ones are worth it. Torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.audits.certificates.budgets import SEARCH
from app.audits.certificates.task import Task
from app.audits.pixels import NotProvable
from app.numerics.attacks.masking import random_outputs
from app.numerics.bounds.complete import unavailable
from app.numerics.bounds.layers import to_refine
from app.numerics.bounds.program import Program


@dataclass(frozen=True)
class Followed:
    """The network as proofs read it."""

    program: Program | None
    reason: str
    """Why nothing can be proven; empty where something can."""
    dear: bool
    """Whether CROWN and the convex outer polytope are asked."""
    left_out: str
    """Why they are not."""
    searched: bool
    """Whether certified radii are looked for."""
    no_verifier: str
    """Why complete verification is left out although the budget asks for it; empty where it is not."""
    differs: NDArray[np.float32]
    """[n]: largest difference between its logits and the network's, relative to the largest logit."""


@torch.no_grad()
def follow(task: Task) -> Followed:
    """Read the network, and compare what was read with the network itself on the unchanged images."""
    if not len(task.rows):
        return Followed(None, "", False, "", False, "", np.zeros(0, np.float32))
    try:
        if task.network.program is None:
            raise NotProvable("The layers of this network cannot be seen, and a proof follows them one by one.")
        program: Program = task.network.program()
        if bool(random_outputs(task.network.forward, task.images).any()):
            raise NotProvable("It gives other logits when the same image is shown again; a proof would be void.")
    except NotProvable as error:
        return Followed(None, str(error), False, "", False, "", np.zeros(len(task.rows), np.float32))
    work, most = coefficients(program), task.effort.coefficients
    left_out = "" if work <= most else _too_much(work, most)
    searched = bool(task.effort.halvings) and work <= SEARCH
    return Followed(
        program, "", not left_out, left_out, searched, _no_verifier(task, left_out), _differs(task, program)
    )


def _no_verifier(task: Task, left_out: str) -> str:
    if not task.effort.complete:
        return ""
    return "Complete verification starts from CROWN’s bounds and was left out too." if left_out else unavailable()


def _differs(task: Task, program: Program) -> NDArray[np.float32]:
    """Of log-probabilities where the network is declared to give those: they are logits up to a constant."""
    own, read = task.network.forward(task.images), program.forward(task.images)
    if task.network.probabilities:
        own, read = own.log_softmax(1), read.log_softmax(1)
    found: NDArray[np.float32] = ((own - read).abs().amax(1) / own.abs().amax(1).clamp_min(1e-3)).cpu().numpy()
    return found


def coefficients(program: Program) -> int:
    """How many numbers CROWN holds for one image at most: the neurons before each bend, times what lies before them."""
    return sum(
        math.prod(program.shapes[place]) * sum(math.prod(shape) for shape in program.shapes[:place])
        for place in to_refine(program)
    )


def _too_much(work: int, most: int) -> str:
    return (
        f"CROWN and the convex outer polytope would take {work / 1e6:,.0f} million coefficients an image here; this "
        f"budget stops at {most / 1e6:,.0f} million. Only interval bounds were asked."
    )
