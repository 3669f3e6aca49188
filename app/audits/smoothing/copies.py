"""Copies of the network that are trained with noise by the version's recipe: which, and what came of them. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result
from app.audits.drawn import drawn
from app.audits.retraining import RetrainPlan
from app.audits.smoothing.budgets import EFFORTS
from app.audits.smoothing.schema import ARRAYS, Params, amount

PLAN, COPY = "plan", "copy"


def plan(inputs: Inputs) -> Result:
    """Choose all labelled training images for a network with each noise, and the images that it is asked."""
    params: Params = inputs.params
    if inputs.train is None or not params.train_copy:
        return Result(summary={})
    known = inputs.train.manifest["label"].to_numpy() >= 0
    labels, rows = inputs.audited.manifest["label"].to_numpy(), inputs.audited.manifest["row"].to_numpy()
    chosen = drawn((int(rows[0]), int(rows[-1]) + 1), inputs.seed, EFFORTS[params.budget].rows) - rows[0]
    noise = np.array([amount(text) for text in params.sigmas])
    masks, seeds = np.tile(known, (len(noise), 1)), np.zeros(len(noise), np.int64)
    return RetrainPlan(masks, seeds, np.sort(chosen[labels[chosen] >= 0]), noise).result()


def measured_copies(inputs: Inputs, positions: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], str]:
    """What `judged` says of each copy at these positions, [m, copies, …]; none, and why, where none is there."""
    params: Params = inputs.params
    if not params.train_copy:
        return {}, ""
    if COPY not in inputs.earlier:
        return {}, "No copy was trained with noise: the run has no training split."
    folder = inputs.earlier[COPY]
    if len(np.load(folder / "models.npy")) < len(params.sigmas):
        return {}, "A copy could not be trained with noise; the run’s log says why."
    places = np.searchsorted(np.load(inputs.earlier[PLAN] / "targets.npy"), positions)
    arrays = {name: np.load(folder / f"measured.{name}.npy", mmap_mode="r") for name in ARRAYS}
    return {name: np.asarray(array[:, places]).swapaxes(0, 1) for name, array in arrays.items()}, ""
