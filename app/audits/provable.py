"""A network as proofs read it, compared with the network itself, and what the dear proofs cost on it. Torch."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.pixels import NotProvable, PixelNetwork
from app.numerics.attacks.masking import random_outputs
from app.numerics.bounds.layers import to_refine
from app.numerics.bounds.program import Program


@torch.no_grad()
def read(network: PixelNetwork, images: Tensor) -> Program:
    """Return the network as a program; images are float [n, c, h, w] in [0, 1].

    Raises:
        NotProvable: it hides its layers, has one that proofs do not know, or answers at random.
    """
    if network.program is None:
        raise NotProvable("The layers of this network cannot be seen, and a proof follows them one by one.")
    if bool(random_outputs(network.forward, images).any()):
        raise NotProvable("It gives other logits when the same image is shown again; a proof would be void.")
    program: Program = network.program()
    return program


@torch.no_grad()
def differences(network: PixelNetwork, program: Program, images: Tensor) -> NDArray[np.float32]:
    """How far the program's logits are from the network's own, relative to the largest one, float32 [n].

    Of log-probabilities where the network is declared to give those: they are logits up to a constant.
    """
    own, read_as = network.forward(images), program.forward(images)
    if network.probabilities:
        own, read_as = own.log_softmax(1), read_as.log_softmax(1)
    found: NDArray[np.float32] = ((own - read_as).abs().amax(1) / own.abs().amax(1).clamp_min(1e-3)).cpu().numpy()
    return found


def coefficients(program: Program) -> int:
    """How many numbers CROWN holds for one image at most: the neurons before each bend, times what lies before them."""
    return sum(
        math.prod(program.shapes[place]) * sum(math.prod(shape) for shape in program.shapes[:place])
        for place in to_refine(program)
    )
