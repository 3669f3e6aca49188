"""Proof first: images that are proven to withstand an ε need no further attack at it. Torch."""

from __future__ import annotations

import torch
from torch import Tensor

from app.audits.attacks.budgets import Effort
from app.audits.pixels import SAME_LOGITS, NotProvable, PixelNetwork
from app.audits.provable import coefficients, differences, read
from app.numerics.attacks.region import Ball
from app.numerics.bounds.margins import margin_bounds
from app.numerics.bounds.program import Program

_PER_PASS = 8000
"""Coefficients of CROWN that take as long as a pass through a small convolutional network."""
_SHARE = 0.25
"""What CROWN may cost an image, of what the attacks cost on an image that nothing breaks."""


class Proofs:
    """Proves images of a batch by rising ε; what is not proven at one is not asked again at a larger one."""

    def __init__(self, network: PixelNetwork, images: Tensor, labels: Tensor, effort: Effort) -> None:
        self._images, self._labels = images, labels
        self._program = _program(network, images)
        self._open = torch.ones(len(images), dtype=torch.bool, device=images.device)
        self._crown = self._program is not None and coefficients(self._program) <= _affordable(effort)

    def prove(self, places: Tensor, ball: Ball) -> Tensor:
        """Which images at places int64 [m] no change within the ball makes wrong, bool [m]; none for L2."""
        proven = torch.zeros(len(self._images), dtype=torch.bool, device=self._images.device)
        if self._program is None or ball.norm != "Linf":
            return proven[places]
        asked = places[self._open[places]]
        for method in ("ibp", "crown") if self._crown else ("ibp",):
            if len(asked):
                found = margin_bounds(self._program, self._images[asked], self._labels[asked], ball.radius, method) > 0
                proven[asked[found]] = True
                asked = asked[~found]
        self._open[asked] = False
        return proven[places]


def _affordable(effort: Effort) -> float:
    passes = 3 * effort.steps * effort.restarts * (1 + effort.targets) + effort.queries
    return _SHARE * passes * _PER_PASS


def _program(network: PixelNetwork, images: Tensor) -> Program | None:
    """None where proofs cannot pass the network, or read it as another one."""
    try:
        program = read(network, images)
    except NotProvable:
        return None
    return program if float(differences(network, program, images).max(initial=0.0)) <= SAME_LOGITS else None
