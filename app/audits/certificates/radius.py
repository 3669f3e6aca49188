"""How far each image is proven: bisection with the dearest bounds that are asked. Torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from app.audits.certificates.schema import RADIUS
from app.audits.certificates.task import Task
from app.numerics.bounds.margins import margin_bounds
from app.numerics.bounds.program import Program

_BEYOND = 2.0
"""An image that is proven at the largest ε is tried up to this multiple of it."""


def find_radii(task: Task, program: Program, *, dear: bool) -> None:
    """Halve the interval in which each right image's proven radius lies; what is left is rounded down.

    Images of one middle are asked together; those that agreed so far share it.
    """
    places = np.flatnonzero(task.evidence.right)
    low, high = _ends(task.evidence.proven()[places], task.radii)
    for halving in range(task.effort.halvings):
        middle = (low + high) / 2
        for radius in np.unique(middle):
            here = middle == radius
            proven = _proven(task, program, places[here], float(radius), dear=dear)
            low[here] = np.where(proven, radius, low[here])
            high[here] = np.where(proven, high[here], radius)
        task.tell((halving + 1) / task.effort.halvings)
    task.certified[:] = 0
    task.certified[places] = _downwards(low)


def _downwards(found: NDArray[np.float64]) -> NDArray[np.float32]:
    """In float32, never above the number that it stands for."""
    rounded = found.astype(np.float32)
    return np.where(rounded > found, np.nextafter(rounded, np.float32(-1)), rounded)


def _ends(proven: NDArray[np.bool_], radii: list[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest ε that is proven, 0 where none is, and the smallest that is not, [n] each."""
    count = proven.sum(axis=1)
    steps = np.array([0.0, *radii, min(_BEYOND * radii[-1], 1.0)])
    return steps[count], steps[count + 1]


def _proven(task: Task, program: Program, places: NDArray[np.int64], radius: float, *, dear: bool) -> NDArray[np.bool_]:
    at = torch.from_numpy(places).to(task.images.device)
    with task.spending(RADIUS, len(places)):
        found = margin_bounds(program, task.images[at], task.labels[at], radius, "crown" if dear else "ibp")
    return (found > 0).cpu().numpy()
