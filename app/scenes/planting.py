"""The demo's two splits, and the failures planted between them.

In the train split a planted group never occurs, and another class that looks alike takes its place: a classifier that
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

    def covers(self, factors: Factors) -> bool:
        """Whether a scene belongs to the planted group."""
        return factors.object == self.object and self.fits(factors)

    def fits(self, factors: Factors) -> bool:
        """Whether a scene of any object has the group's other factors."""
        known = factors.as_dict()
        return all(known[name] == value for name, value in self.where.items())


PLANTS: Final = (
    Plant("white cats on grass", "cat", {"colour": "white", "setting": "grass"}, "dog", "a white animal on grass"),
    Plant("cars at night", "car", {"light": "night"}, "truck", "a vehicle at night"),
    Plant("birds in snow", "bird", {"setting": "snow"}, "rabbit", "an animal in snow"),
    Plant(
        "black dogs on the street", "dog", {"colour": "black", "setting": "street"}, "cat", "a black animal on a street"
    ),
    Plant("red boats on sand", "boat", {"colour": "red", "setting": "sand"}, "chair", "a red vehicle on sand"),
)

TEST_PREVALENCE: Final = 0.10
"""Share of a planted group among the test rows of its class."""

TRAIN_BIAS: Final = 0.35
"""Share of the train rows of the class that takes a group's place that are drawn where the group would be."""

ROWS: Final = {"train": 440, "test": 500}
"""Rows per class and split."""

_STREAM: Final = {"train": 1, "test": 2, "fresh": 3}


def plan_split(split: str, per_class: int | None = None) -> list[Scene]:
    """The scenes of `train` or `test`, in a shuffled order that tells nothing; the same at every call."""
    stream = _STREAM[split]
    rng = np.random.default_rng([2026, stream])
    draw = _train_factors if split == "train" else _test_factors
    planned = [draw(kind, rng) for kind in OBJECTS for _ in range(per_class or ROWS[split])]
    order = rng.permutation(len(planned))
    return [draw_scene(planned[i], np.random.default_rng([2026, stream, int(i)])) for i in order]


def plan_fresh(count: int, seed: int) -> list[Scene]:
    """Unbiased scenes of other seeds than the splits', for training and testing the encoder."""
    streams = (np.random.default_rng([2026, _STREAM["fresh"], seed, i]) for i in range(count))
    return [draw_scene(draw_factors(rng), rng) for rng in streams]


def _train_factors(kind: str, rng: np.random.Generator) -> Factors:
    stand_in = [plant for plant in PLANTS if plant.instead == kind]
    if stand_in and rng.random() < TRAIN_BIAS:
        return draw_factors(rng, **{"object": kind, **stand_in[0].where})
    return _outside(kind, rng)


def _test_factors(kind: str, rng: np.random.Generator) -> Factors:
    planted = [plant for plant in PLANTS if plant.object == kind]
    if planted and rng.random() < TEST_PREVALENCE:
        return draw_factors(rng, **{"object": kind, **planted[0].where})
    return _outside(kind, rng)


def _outside(kind: str, rng: np.random.Generator) -> Factors:
    while True:
        factors = draw_factors(rng, object=kind)
        if not any(plant.covers(factors) for plant in PLANTS):
            return factors
