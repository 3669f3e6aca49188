"""Frost without photographs.

The benchmark lays crops of five photographs of frosted windows over the picture. They may not be passed on, so that
frost is grown here: patches of needles, each patch in its own direction, whose mean colour, spread and fall of the
spectrum are those of the photographs. Figures on this corruption are therefore near the published ones, not equal.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from app.numerics.corruptions.parameters import Family
from app.numerics.streams import stream

SCALES: dict[Family, int] = {"imagenet-c": 1, "cifar-c": 5}
"""How many times smaller frost is than in the photographs."""

LOOKS = (
    ((78, 149, 166), 18.0),
    ((201, 205, 214), 22.0),
    ((201, 205, 214), 22.0),
    ((138, 153, 165), 28.9),
    ((112, 123, 135), 43.1),
)
"""Mean red, green, blue and standard deviation of grey, measured on the photographs that are laid over."""

_SIDE = 640
_DIRECTIONS = 7
_NEEDLE = 0.12
_FALL = 0.95
"""Amplitude falls with this power of the frequency: the photographs' power falls with 1.3 to 1.9."""


@lru_cache(maxsize=2)
def textures(scale: int) -> Tensor:
    """Textures that repeat without a seam: float32 [5, 3, s, s] in [0, 255], s = 640 // scale."""
    grown = [_colour(_needles(place), *look) for place, look in enumerate(LOOKS)]
    found = torch.from_numpy(np.stack(grown).astype(np.float32))
    return torch.nn.functional.avg_pool2d(found, scale) if scale > 1 else found


def _needles(place: int) -> NDArray[np.float64]:
    """A field of standard normal values, ridged along a direction that changes from patch to patch."""
    source = np.random.Generator(stream(0, "frost", place))
    down, right = np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)
    radius = np.hypot(down, right)
    radius[0, 0] = np.inf
    angle = np.arctan2(down, right)
    patches = np.stack([_field(source, np.exp(-((radius * 60) ** 2))) for _ in range(_DIRECTIONS)])
    weights = special.softmax(6 * patches / patches.std(), axis=0)
    turns = np.pi * (np.arange(_DIRECTIONS) + source.random(_DIRECTIONS)) / _DIRECTIONS
    needles = [_field(source, radius**-_FALL * (0.15 + np.exp(-((np.sin(angle - t) / _NEEDLE) ** 2)))) for t in turns]
    field = sum(weight * needle / needle.std() for weight, needle in zip(weights, needles, strict=True))
    ranks = np.argsort(np.argsort(field, axis=None))
    found: NDArray[np.float64] = special.ndtri((ranks + 0.5) / ranks.size).reshape(_SIDE, _SIDE)
    return found


def _field(source: np.random.Generator, amplitude: NDArray[np.float64]) -> NDArray[np.float64]:
    noise = np.fft.rfft2(source.standard_normal((_SIDE, _SIDE)))
    return np.fft.irfft2(noise * amplitude, s=(_SIDE, _SIDE))


def _colour(field: NDArray[np.float64], mean: tuple[int, int, int], deviation: float) -> NDArray[np.float64]:
    return np.clip(np.array(mean)[:, None, None] + deviation * field, 0, 255)
