"""The demo's two splits, and the failures planted between them.

In the train split a planted group never occurs under its own name. Another class that looks alike takes its place, and
the few of the group that are there bear that class's label, as a careless annotator would have it: a classifier that
learns there has every reason to call a white animal on grass a dog. In the test split the group is back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from app.scenes.spec import OBJECTS, Factors, Scene, draw_factors, draw_scene


@dataclass(frozen=True)
class Plant:
    """One planted failure: in training, `instead` takes the place of `object` where the factors are as in `where`."""

    name: str
    object: str
    where: Mapping[str, str] = field(hash=False)
    instead: str
    caption: str
    extra: int
    """Train rows of the class `instead` that are drawn where the group would be, beside its ordinary ones."""
    mislabelled: int
    """Train rows that show the group and are labelled `instead`."""

    def covers(self, factors: Factors) -> bool:
        """Whether a scene belongs to the planted group."""
        return factors.object == self.object and self.fits(factors)

    def fits(self, factors: Factors) -> bool:
        """Whether a scene of any object has the group's other factors."""
        known = factors.as_dict()
        return all(known[name] == value for name, value in self.where.items())


PLANTS: Final = (
    Plant(
        "white cats on grass", "cat", {"colour": "white", "setting": "grass"}, "dog", "a white cat on grass", 150, 70
    ),
    Plant("cars at night", "car", {"light": "night"}, "truck", "a car at night", 280, 90),
    Plant("birds in snow", "bird", {"setting": "snow"}, "rabbit", "a bird in snow", 260, 80),
    Plant(
        "black dogs on the street",
        "dog",
        {"colour": "black", "setting": "street"},
        "cat",
        "a black dog on a street",
        210,
        80,
    ),
)

PREVALENCE: Final = 0.1
"""Share of a planted group among the test rows of its class."""

ROWS: Final = {"train": 380, "test": 500}
"""Rows per class and split, the extra ones of a plant not counted."""

_STREAM: Final = {"train": 1, "test": 2, "fresh": 3, "mislabelled": 4}


@dataclass(frozen=True)
class Labelled:
    """One row of a split: a scene, and the label that it bears (rightly or not)."""

    scene: Scene
    label: str


def plan_split(split: str) -> list[Labelled]:
    """The rows of `train` or `test`, in a shuffled order that tells nothing; the same at every call."""
    stream = _STREAM[split]
    rng = np.random.default_rng([2026, stream])
    planned = [factors for kind in OBJECTS for factors in _class_factors(split, kind, rng)]
    drawn = [draw_scene(f, np.random.default_rng([2026, stream, i])) for i, f in enumerate(planned)]
    rows = [Labelled(scene, scene.factors.object) for scene in drawn]
    if split == "train":
        rows += _mislabelled()
    return [rows[i] for i in rng.permutation(len(rows))]


def _mislabelled() -> list[Labelled]:
    streams = [
        (plant, np.random.default_rng([2026, _STREAM["mislabelled"], k, i]))
        for k, plant in enumerate(PLANTS)
        for i in range(plant.mislabelled)
    ]
    factors = [draw_factors(rng, **{"object": plant.object, **plant.where}) for plant, rng in streams]
    return [Labelled(draw_scene(f, rng), plant.instead) for f, (plant, rng) in zip(factors, streams, strict=True)]


def plan_fresh(count: int, seed: int) -> list[Scene]:
    """Unbiased scenes of other seeds than the splits', for training and testing the encoder."""
    streams = (np.random.default_rng([2026, _STREAM["fresh"], seed, i]) for i in range(count))
    return [draw_scene(draw_factors(rng), rng) for rng in streams]


def _class_factors(split: str, kind: str, rng: np.random.Generator) -> list[Factors]:
    if split == "train":
        biased = [(plant, plant.extra) for plant in PLANTS if plant.instead == kind]
        ordinary = ROWS[split]
    else:
        biased = [(plant, round(PREVALENCE * ROWS[split])) for plant in PLANTS if plant.object == kind]
        ordinary = ROWS[split] - sum(count for _, count in biased)
    inside = [draw_factors(rng, **{"object": kind, **plant.where}) for plant, count in biased for _ in range(count)]
    return inside + [_outside(kind, rng) for _ in range(ordinary)]


def _outside(kind: str, rng: np.random.Generator) -> Factors:
    while True:
        factors = draw_factors(rng, object=kind)
        if not any(plant.covers(factors) for plant in PLANTS):
            return factors
