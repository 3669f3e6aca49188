"""The steps that prove by bounds, from the cheap to the dear. Torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from app.audits.certificates.evidence import CROWN, IBP, POLYTOPE
from app.audits.certificates.schema import FIRST_BOUND
from app.audits.certificates.task import Task
from app.numerics.bounds.margins import Method, margin_bounds
from app.numerics.bounds.program import Program

METHODS: dict[int, Method] = {IBP: "ibp", CROWN: "crown", POLYTOPE: "wong_kolter"}


_TOGETHER = 8
"""Images that are asked together, so that progress is told now and then."""


def prove_by_bounds(task: Task, program: Program, *, dear: bool) -> None:
    """Interval bounds of all images that are right; where `dear`, then CROWN and the convex outer polytope.

    CROWN is asked about the undecided, and about what IBP proved: the two must agree. From the largest ε down, since
    what is proven there is proven below.
    """
    known = task.evidence
    for column in reversed(range(len(task.radii))):
        _bound(task, program, np.flatnonzero(known.right & ~known.proven()[:, column]), column, IBP)
    for column in reversed(range(len(task.radii))) if dear else ():
        above = (known.bounds[:, column:, CROWN] > 0).any(axis=1)
        by_intervals = np.flatnonzero((known.bounds[:, column, IBP] > 0) & ~above)
        _bound(task, program, np.union1d(known.undecided(column), by_intervals), column, CROWN)
        _bound(task, program, known.undecided(column), column, POLYTOPE)


def _bound(task: Task, program: Program, places: NDArray[np.int64], column: int, proof: int) -> None:
    done = len(task.radii) - 1 - column
    for start in range(0, len(places), _TOGETHER):
        here = places[start : start + _TOGETHER]
        at = torch.from_numpy(here).to(task.images.device)
        with task.spending(FIRST_BOUND + proof, len(here)):
            found = margin_bounds(program, task.images[at], task.labels[at], task.radii[column], METHODS[proof])
        task.evidence.bounds[here, column, proof] = found.cpu().numpy()
        if proof != IBP:
            task.tell((done + (start + len(here)) / len(places)) / len(task.radii))
