"""What about a network makes stress tests misleading, found on a few images right after upload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.errors import UserError
from app.loaders.models.alternatives import normalisations
from app.loaders.models.model_shard import cached_graphs
from app.loaders.models.runtime import LoadedModel
from app.loaders.models.spec import ModelSpec, Preprocessing
from app.numerics.attacks.masking import random_outputs
from app.numerics.intervals import wilson_interval

GAIN = 0.1
"""Of the images, how many more another normalisation must get right to be mentioned."""
_FEW = 4
_TRIED = 8

Right = Callable[[Preprocessing], int | None]


def of_network(file: Path, spec: ModelSpec, model: LoadedModel, images: Tensor) -> list[str]:
    """Sentences on random answers and on gradients, of a few prepared images; empty where there is nothing to say."""
    few = images[:_TRIED]
    found = []
    hit = int(random_outputs(lambda rows: model.raw(rows)[0], few).sum())
    if hit:
        found.append(
            f"{hit} of {len(few)} images got other scores when the network was asked again: something in it is random "
            "(dropout or noise left on?). Figures of stress tests would differ from run to run and flatter it; upload "
            "it in evaluation mode, or its average."
        )
    gradients = _gradients(file, spec, model, images[:_FEW])
    return [*found, gradients] if gradients else found


def of_normalisation(
    declared: Preprocessing, right: Right, n: int, ends: Callable[[], bool] = lambda: False
) -> list[str]:
    """Say which other normalisation gets clearly more of n labelled images right; `right` counts those of one.

    `ends` is asked before each whether there is no more time.
    """
    mine = right(declared)
    if mine is None or not n:
        return []
    best, name = mine, ""
    for title, steps in normalisations(declared):
        if ends():
            break
        count = right(steps)
        if count is not None and count > best:
            best, name = count, title
    if best - mine < GAIN * n or float(wilson_interval(best, n)[0]) <= float(wilson_interval(mine, n)[1]):
        return []
    return [
        f"With “{name}” the model is right on {best:,} of {n:,} images, with the declared preprocessing on {mine:,}: "
        "it probably normalises inside as well, or not at all, or expects another range of values. Correct the "
        "preprocessing before stress tests: an ε would mean another distance."
    ]


def count_right(scores: NDArray[np.float32] | None, classes: Sequence[str], labels: NDArray[Any]) -> int | None:
    """How many of the labels (class names [n]) scores [n, C] get right."""
    if scores is None:
        return None
    return int((np.asarray(classes, object)[scores.argmax(1)] == labels).sum())


def _gradients(file: Path, spec: ModelSpec, model: LoadedModel, images: Tensor) -> str:
    try:
        network = cached_graphs([file], spec, model.device)[-1]
        rows = images.detach().clone().contiguous().requires_grad_()
        (slope,) = torch.autograd.grad(network(rows).amax(1).sum(), rows)
    except UserError as error:
        return f"Attacks can use no gradients, and proofs may not be possible: {error.message}"
    except RuntimeError as error:
        why = (str(error).strip().splitlines() or [""])[0][:200]
        return f"Attacks can use no gradients: the network cannot be differentiated ({why})."
    if bool(slope.nan_to_num().any()):
        return ""
    return (
        f"None of {len(images)} images has a gradient other than zero: rounding, a saturated softmax or a step "
        "function inside hides the way from attacks, and robustness would be overstated. Upload the network without."
    )
