"""Whether proofs can follow a network, and whether the dear ones are worth it. Torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.audits.certificates.budgets import SEARCH
from app.audits.certificates.task import Task
from app.audits.pixels import NotProvable
from app.audits.provable import coefficients, differences, read
from app.numerics.bounds.complete import unavailable
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
    """Whether proven radii are looked for."""
    no_verifier: str
    """Why complete verification is left out although the budget asks for it; empty where it is not."""
    differs: NDArray[np.float32]
    """[n]: largest difference between its logits and the network's, relative to the largest logit."""


def follow(task: Task) -> Followed:
    """Read the network, and compare what was read with the network itself on the unchanged images."""
    try:
        program = read(task.network, task.images) if len(task.rows) else None
    except NotProvable as error:
        return Followed(None, str(error), False, "", False, "", np.zeros(len(task.rows), np.float32))
    if program is None:
        return Followed(None, "", False, "", False, "", np.zeros(0, np.float32))
    work, most = coefficients(program), task.effort.coefficients
    left_out = "" if work <= most else _too_much(work, most)
    searched, why = bool(task.effort.halvings) and work <= SEARCH, _no_verifier(task, left_out)
    return Followed(program, "", not left_out, left_out, searched, why, differences(task.network, program, task.images))


def _no_verifier(task: Task, left_out: str) -> str:
    if not task.effort.complete:
        return ""
    return "Complete verification starts from CROWN’s bounds and was left out too." if left_out else unavailable()


def _too_much(work: int, most: int) -> str:
    return (
        f"CROWN and the convex outer polytope would take {work / 1e6:,.0f} million coefficients an image here; this "
        f"budget stops at {most / 1e6:,.0f} million. Only interval bounds were asked."
    )
