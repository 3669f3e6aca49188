"""What a scene is made of: named factors, and the continuous controls that realise them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np

OBJECTS: Final = ("bird", "boat", "car", "cat", "chair", "dog", "rabbit", "truck")
COLOURS: Final = ("white", "black", "red", "blue", "yellow")
SIZES: Final = ("small", "large")
SETTINGS: Final = ("grass", "snow", "sand", "indoors", "street")
LIGHTS: Final = ("day", "dusk", "night")
VIEWPOINTS: Final = ("front", "side", "three-quarter")
OCCLUSIONS: Final = ("none", "post", "bush")
WEATHERS: Final = ("clear", "fog")

LEVELS: Final[dict[str, tuple[str, ...]]] = {
    "object": OBJECTS,
    "colour": COLOURS,
    "size": SIZES,
    "setting": SETTINGS,
    "light": LIGHTS,
    "viewpoint": VIEWPOINTS,
    "occlusion": OCCLUSIONS,
    "weather": WEATHERS,
}
WEIGHTS: Final[dict[str, tuple[float, ...]]] = {"occlusion": (0.8, 0.1, 0.1), "weather": (0.88, 0.12)}

VARIANTS: Final = 6
"""Bodies per kind of object: the same object, differently modelled."""

_YAW: Final = {"front": (0.0, 12.0), "side": (90.0, 12.0), "three-quarter": (45.0, 13.0)}
_SCALE: Final = {"small": (0.58, 0.70), "large": (1.00, 1.15)}


@dataclass(frozen=True)
class Factors:
    """The named description of one scene; every field holds one of its `LEVELS`."""

    object: str
    colour: str
    size: str
    setting: str
    light: str
    viewpoint: str
    occlusion: str
    weather: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value not in LEVELS[field.name]:
                raise ValueError(f"{field.name} is {value!r}; it must be one of {', '.join(LEVELS[field.name])}")

    def as_dict(self) -> dict[str, str]:
        """The factors by name."""
        return asdict(self)


@dataclass(frozen=True)
class Scene:
    """All that a picture depends on. Angles in degrees, lengths in the height of a cat.

    `yaw` 0 faces the camera; `position` is (x, z) on the ground, z towards the camera; `sun_azimuth` is
    measured from the camera's axis; `texture_seed` picks grain, props and clouds.
    """

    factors: Factors
    variant: int = 0
    yaw: float = 45.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    position: tuple[float, float] = (0.0, 0.0)
    camera_azimuth: float = 0.0
    camera_elevation: float = 16.0
    camera_distance: float = 4.6
    field_of_view: float = 33.0
    sun_azimuth: float = 40.0
    sun_elevation: float = 45.0
    occluder_offset: float = 0.0
    texture_seed: int = 0


def draw_factors(rng: np.random.Generator, **fixed: str) -> Factors:
    """Factors drawn independently, each from its `WEIGHTS` (uniform where it has none), but for those `fixed`."""
    drawn = {name: str(rng.choice(levels, p=WEIGHTS.get(name))) for name, levels in LEVELS.items()}
    return Factors(**{**drawn, **fixed})


def draw_scene(factors: Factors, rng: np.random.Generator) -> Scene:
    """One scene of the given factors, with its continuous controls drawn at random."""
    yaw, spread = _YAW[factors.viewpoint]
    side = 1.0 if rng.random() < 0.5 else -1.0
    return Scene(
        factors=factors,
        variant=int(rng.integers(VARIANTS)),
        yaw=side * yaw + float(rng.uniform(-spread, spread)),
        scale=float(rng.uniform(*_SCALE[factors.size])),
        position=(float(rng.uniform(-0.30, 0.30)), float(rng.uniform(-0.25, 0.25))),
        camera_azimuth=float(rng.uniform(-14.0, 14.0)),
        camera_elevation=float(rng.uniform(4.0, 19.0)),
        camera_distance=float(rng.uniform(4.3, 4.9)),
        sun_azimuth=float(rng.choice([-1.0, 1.0]) * rng.uniform(25.0, 75.0)),
        sun_elevation=float(rng.uniform(12.0, 20.0) if factors.light == "dusk" else rng.uniform(35.0, 60.0)),
        occluder_offset=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.05, 0.30)),
        texture_seed=int(rng.integers(2**31)),
    )
