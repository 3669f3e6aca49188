"""True sentences about a scene, each naming some of its factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from app.scenes.spec import Factors

ANIMALS: Final = ("bird", "cat", "dog", "rabbit")
VEHICLES: Final = ("boat", "car", "truck")

KINDS: Final[dict[str, tuple[str, ...]]] = {"animal": ANIMALS, "vehicle": VEHICLES}
"""General nouns, and the objects that each is true of."""

ANYTHING: Final = ("thing", "object", "toy", "figure")
"""Nouns that are true of every object."""

WORDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "size": {"small": ("small", "little", "tiny"), "large": ("large", "big")},
    "setting": {
        "grass": ("on grass", "on the grass", "on green grass", "in a meadow", "on a lawn"),
        "snow": ("in snow", "in the snow", "on snow", "on the snow"),
        "sand": ("on sand", "on the sand", "on a beach", "at the beach"),
        "indoors": ("indoors", "in a room", "inside a room", "inside", "in a house"),
        "street": ("on a street", "on the street", "in the street", "on a road", "in a city"),
    },
    "light": {
        "day": ("by day", "in daylight", "during the day", "in the daytime"),
        "dusk": ("at dusk", "at sunset", "in the evening"),
        "night": ("at night", "by night", "in the dark"),
    },
    "viewpoint": {
        "front": ("seen from the front", "facing the camera", "front view"),
        "side": ("seen from the side", "side view", "in profile"),
        "three-quarter": ("seen at an angle", "three-quarter view"),
    },
    "occlusion": {
        "none": ("in plain view", "unobstructed"),
        "post": ("behind a post", "partly hidden by a post"),
        "bush": ("behind a bush", "partly hidden by a bush"),
    },
    "weather": {"clear": ("in clear weather", "in clear air"), "fog": ("in fog", "in the mist", "in foggy weather")},
}
"""Ways to say every value of every factor but the object and its colour, which are said by their names."""

OPENINGS: Final = ("a photo of ", "a picture of ", "an image of ", "a rendering of ", "a photo of ", "", "", "")
CHANCE: Final = {
    "object": 0.6,
    "colour": 0.55,
    "size": 0.35,
    "setting": 0.55,
    "light": 0.5,
    "viewpoint": 0.2,
    "occlusion": 0.15,
    "weather": 0.15,
}
"""How often a random caption names each factor."""


@dataclass(frozen=True)
class Caption:
    """A sentence, and what it claims: for each factor it names, the values for which it is true."""

    text: str
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_true_of(self, factors: Factors) -> bool:
        """Whether every claim holds."""
        known = factors.as_dict()
        return all(known[name] in values for name, values in self.claims.items())


def describe(factors: Factors, rng: np.random.Generator, naming: Sequence[str] | None = None) -> Caption:
    """A true caption that names the factors in `naming`, or a random selection drawn by `CHANCE`."""
    if naming is None:
        naming = [name for name, chance in CHANCE.items() if rng.random() < chance]
    known = factors.as_dict()
    claims: dict[str, tuple[str, ...]] = {name: (known[name],) for name in naming}
    noun = factors.object
    if "object" not in naming:
        noun, covered = _general_noun(factors.object, rng)
        claims |= covered
    adjectives = [_pick(rng, WORDS["size"][factors.size])] if "size" in naming else []
    adjectives += [factors.colour] if "colour" in naming else []
    phrases = [_pick(rng, WORDS[name][known[name]]) for name in _PHRASED if name in naming]
    return Caption(_sentence(adjectives, noun, phrases, rng), claims)


_PHRASED: Final = ("setting", "light", "viewpoint", "occlusion", "weather")


def _general_noun(thing: str, rng: np.random.Generator) -> tuple[str, dict[str, tuple[str, ...]]]:
    for kind, members in KINDS.items():
        if thing in members and rng.random() < 0.5:
            return kind, {"object": members}
    return _pick(rng, ANYTHING), {}


def _sentence(adjectives: Sequence[str], noun: str, phrases: Sequence[str], rng: np.random.Generator) -> str:
    opening = _pick(rng, OPENINGS)
    core = " ".join([*adjectives, noun])
    if opening or rng.random() < 0.6:
        core = ("an " if core[0] in "aeiou" else "a ") + core
    order = list(rng.permutation(len(phrases))) if rng.random() < 0.3 else list(range(len(phrases)))
    comma = ", " if rng.random() < 0.25 else " "
    return opening + comma.join([core, *(phrases[i] for i in order)])


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
