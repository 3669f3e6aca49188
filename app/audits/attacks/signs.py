"""What a shard notes of each image to tell robustness from an attack that cannot see."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.attacks.schema import SIGNS
from app.audits.pixels import PixelNetwork
from app.numerics.attacks import masking
from app.numerics.attacks.problem import Problem
from app.numerics.attacks.region import Ball


@torch.no_grad()
def right_otherwise(network: PixelNetwork, images: Tensor, labels: Tensor) -> NDArray[np.int64]:
    """How many images are right under each of the other normalisations, in their order."""
    right = [int((forward(images).argmax(1) == labels).sum()) for forward in network.others.values()]
    return np.array(right, np.int64)


def signs_of(
    network: PixelNetwork, images: Tensor, labels: Tensor, ball: Ball, rows: NDArray[np.int64], right: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """Return int8 [n, 4] in the order of `SIGNS`: 1 yes, 0 no, −1 not asked.

    Gradients are asked for where there are any, and for images that are `right` when clean; `survives` too.
    """
    found = np.full((len(rows), len(SIGNS)), -1, np.int8)
    with torch.no_grad():
        logits = network.forward(images)
    found[:, 1] = masking.random_outputs(network.forward, images).cpu().numpy()
    found[:, 2] = (masking.probabilities(logits) & (not network.probabilities)).cpu().numpy()
    asked = torch.from_numpy(right).to(images.device)
    if not network.reason and bool(asked.any()):
        problem = Problem.of(network.forward, images, labels, ball, torch.from_numpy(rows), 0).take(asked)
        found[right, 0] = masking.no_gradient(problem).cpu().numpy()
        found[right, 3] = masking.survives_all(problem).cpu().numpy()
    return found
