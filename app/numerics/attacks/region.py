"""The images that an attack may show: a ball around each image, cut by the range of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["Linf", "L2"]
_ROUNDING = 4e-6


@dataclass(frozen=True)
class Ball:
    """All that is at most `radius` away, in pixels of [0, 1]."""

    norm: Norm
    radius: float


@dataclass(frozen=True)
class Region:
    """A ball around each of some images within [0, 1]; whatever `project` returns lies inside, rounding included."""

    ball: Ball
    centre: Tensor
    """float [n, …], in [0, 1]."""
    low: Tensor
    """Least value of each pixel, as `centre`."""
    high: Tensor

    @staticmethod
    def around(images: Tensor, ball: Ball) -> Region:
        """Return the region around images in [0, 1].

        Raises:
            ValueError: a pixel outside [0, 1], or a radius that is not positive.
        """
        if not ball.radius > 0:
            raise ValueError(f"the radius must be positive, not {ball.radius}")
        if not bool(((images >= 0) & (images <= 1)).all()):
            raise ValueError("pixels must lie in [0, 1]")
        if ball.norm == "L2":
            return Region(ball, images, torch.zeros_like(images), torch.ones_like(images))
        low, high = (_inward(images, sign * ball.radius) for sign in (-1, 1))
        return Region(ball, images, low.clamp_min(0), high.clamp_max(1))

    def take(self, rows: Tensor) -> Region:
        """Return the region of some examples; `rows` is an index or a mask."""
        return Region(self.ball, self.centre[rows], self.low[rows], self.high[rows])

    def project(self, images: Tensor) -> Tensor:
        """Return the nearest points inside (L2: of the ball first, then of the pixels' range, as is usual)."""
        if self.ball.norm == "L2":
            change = images - self.centre
            images = self.centre + change * (self._reach() / length(change)).clamp_max(1)
        return torch.minimum(torch.maximum(images, self.low), self.high)

    def start(self, noise: Tensor) -> Tensor:
        """Return a point of the ball's surface in the direction of `noise`, cut to the pixels' range."""
        scale = noise.abs().flatten(1).amax(1).view(_ones(noise)) if self.ball.norm == "Linf" else length(noise)
        return self.project(self.centre + self.ball.radius * noise / scale.clamp_min(1e-12))

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the direction of length one along which a function with that gradient rises most."""
        return gradient.sign() if self.ball.norm == "Linf" else gradient / length(gradient)

    def distance(self, images: Tensor) -> Tensor:
        """Distance from the centre, float64 [n]."""
        change = (images.double() - self.centre.double()).flatten(1)
        return change.abs().amax(1) if self.ball.norm == "Linf" else change.norm(dim=1)

    def _reach(self) -> float:
        """The radius less what rounding can add to a sum of pixels."""
        pixels, unit = self.centre[0].numel(), torch.finfo(self.centre.dtype).eps / 4
        return max(self.ball.radius * (1 - _ROUNDING) - unit * math.sqrt(pixels), 0.0)


def length(change: Tensor) -> Tensor:
    """Euclidean length of each example, [n, 1, …], never zero."""
    found: Tensor = torch.linalg.vector_norm(change.flatten(1), dim=1)
    return found.clamp_min(1e-12).view(_ones(change))


def _ones(images: Tensor) -> tuple[int, ...]:
    return (len(images), *(1 for _ in images.shape[1:]))


def _inward(images: Tensor, shift: float) -> Tensor:
    """`images + shift`, rounded towards `images`."""
    exact = images.double() + shift
    rounded = exact.to(images.dtype)
    beyond = rounded.double() > exact if shift > 0 else rounded.double() < exact
    return torch.where(beyond, torch.nextafter(rounded, images), rounded)
