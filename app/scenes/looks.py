"""Colours and light: what each factor looks like. Linear RGB throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.scenes.spec import Scene

Rgb: TypeAlias = tuple[float, float, float]

BODY: Final[dict[str, Rgb]] = {
    "white": (0.86, 0.84, 0.80),
    "black": (0.022, 0.022, 0.026),
    "red": (0.62, 0.035, 0.03),
    "blue": (0.035, 0.14, 0.62),
    "yellow": (0.86, 0.56, 0.03),
}

MATERIALS: Final = [
    "body",
    "second",
    "ink",
    "cream",
    "pink",
    "orange",
    "leather",
    "glass",
    "metal",
    "wood",
    "lamp",
    "signal",
    "leaf",
    "blossom",
    "iron",
    "fir",
    "snow",
    "stone",
    "blade",
]

_FIXED: Final[dict[str, Rgb]] = {
    "ink": (0.012, 0.011, 0.013),
    "cream": (0.85, 0.82, 0.74),
    "pink": (0.80, 0.34, 0.33),
    "orange": (0.85, 0.30, 0.03),
    "leather": (0.20, 0.075, 0.03),
    "glass": (0.10, 0.16, 0.20),
    "metal": (0.42, 0.43, 0.45),
    "wood": (0.36, 0.19, 0.08),
    "lamp": (0.95, 0.80, 0.50),
    "signal": (0.60, 0.02, 0.02),
    "leaf": (0.085, 0.25, 0.05),
    "blossom": (0.75, 0.25, 0.35),
    "iron": (0.05, 0.06, 0.06),
    "fir": (0.05, 0.19, 0.085),
    "snow": (0.85, 0.89, 0.97),
    "stone": (0.36, 0.33, 0.30),
    "blade": (0.22, 0.42, 0.075),
}
_GLOSS: Final = {"body": 0.25, "ink": 0.6, "glass": 1.0, "metal": 0.8, "lamp": 0.5, "iron": 0.4, "second": 0.15}
WALLS: Final[tuple[Rgb, ...]] = ((0.62, 0.52, 0.40), (0.38, 0.50, 0.46), (0.55, 0.36, 0.32), (0.42, 0.44, 0.56))


@dataclass(frozen=True)
class Light:
    """The light of one hour: `key` is the sun or the moon, `lamp` the warm lamp beside the object."""

    key: Rgb
    sky: Rgb
    ground: Rgb
    lamp: Rgb
    zenith: Rgb
    horizon: Rgb
    fog: Rgb


_OUTSIDE: Final = {
    "day": Light(
        (1.10, 1.00, 0.84), (0.27, 0.33, 0.44), (0.16, 0.15, 0.13), (0, 0, 0), (0.12, 0.34, 0.78), (0.55, 0.74, 0.95),
        (0.74, 0.80, 0.84),
    ),
    "dusk": Light(
        (1.05, 0.56, 0.28), (0.20, 0.18, 0.27), (0.14, 0.10, 0.10), (0, 0, 0), (0.13, 0.11, 0.36), (0.80, 0.27, 0.13),
        (0.66, 0.46, 0.40),
    ),
    "night": Light(
        (0.08, 0.10, 0.17), (0.055, 0.07, 0.13), (0.03, 0.03, 0.05), (1.85, 1.40, 0.92), (0.004, 0.007, 0.028),
        (0.025, 0.035, 0.085), (0.07, 0.08, 0.12),
    ),
}  # fmt: skip


def light_of(scene: Scene) -> Light:
    """The light of a scene: indoors the sky is a ceiling, and a floor lamp stays on at dusk."""
    light = _OUTSIDE[scene.factors.light]
    if scene.factors.setting != "indoors":
        return light
    soft: dict[str, tuple[Rgb, Rgb, Rgb, Rgb]] = {
        "day": ((0.85, 0.78, 0.68), (0.34, 0.34, 0.35), (0.24, 0.21, 0.19), (0, 0, 0)),
        "dusk": ((0.72, 0.36, 0.17), (0.19, 0.16, 0.19), (0.13, 0.10, 0.09), (0.35, 0.25, 0.14)),
        "night": ((0.03, 0.04, 0.07), (0.075, 0.07, 0.08), (0.05, 0.042, 0.04), (1.75, 1.30, 0.85)),
    }
    key, sky, ground, lamp = soft[scene.factors.light]
    return Light(key, sky, ground, lamp, light.zenith, light.horizon, light.fog)


def palette_of(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """The colour of every material, (len(MATERIALS), 3): the body's with a little variation from scene to scene."""
    body = np.array(BODY[scene.factors.colour]) * rng.uniform(0.9, 1.1, 3)
    second = body + 0.14 * (np.array(_FIXED["cream"]) - body)
    if scene.factors.colour in {"white", "black"}:
        second = 0.82 * body
    colours = {**_FIXED, "body": body, "second": second}
    return np.array([colours[name] for name in MATERIALS], dtype=np.float32)


def gloss_of() -> NDArray[np.float32]:
    """How shiny every material is, (len(MATERIALS),) in [0, 1]."""
    return np.array([_GLOSS.get(name, 0.0) for name in MATERIALS], dtype=np.float32)


def glow_of(scene: Scene) -> NDArray[np.float32]:
    """How much every material shines by itself, (len(MATERIALS),): lamps, once it is dusk."""
    bright = {"day": {}, "dusk": {"lamp": 1.2, "signal": 0.6}, "night": {"lamp": 2.4, "signal": 1.2}}
    return np.array([bright[scene.factors.light].get(name, 0.0) for name in MATERIALS], dtype=np.float32)
