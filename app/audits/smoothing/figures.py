"""Shares of images that are right and certified. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.audits.base import RunReader
from app.audits.drawn import share
from app.audits.smoothing.schema import ARRAYS, AskedRadius, GroupRow, SmoothingSummary
from app.numerics.smoothing.evidence import CERTIFIED, OPEN

KIND, STAGE = "smoothing", "summarise"
SCORE = "smoothing_radius"


class Found(NamedTuple):
    """What is known of the images under one variant; every array has one entry an image."""

    labels: NDArray[np.int32]
    taken: NDArray[np.int32]
    base: NDArray[np.int32]
    radius: NDArray[np.float32]
    decided: NDArray[np.int8]
    hits: NDArray[np.int32]
    used: NDArray[np.int32]
    noisy: NDArray[np.float32]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], labels: NDArray[np.int32], variant: int) -> Found:
        """The entries of one variant out of arrays [m, variants, …]."""
        return cls(labels, **{name: np.asarray(arrays[name])[:, variant] for name in ARRAYS})

    def take(self, places: NDArray[np.int64]) -> Found:
        """Some of the images."""
        return Found(**{name: values[places] for name, values in self._asdict().items()})

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the smoothed network takes the image for its label."""
        return np.asarray(self.taken == self.labels)

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Whether the network is right without noise and without smoothing."""
        return np.asarray(self.base == self.labels)

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Whether no class is certain enough."""
        return np.asarray(self.decided[:, 0] != CERTIFIED)

    def certified(self, column: int) -> NDArray[np.bool_]:
        """Whether it is right and certified at a radius: column 0 is radius 0, then those that were asked."""
        return np.asarray(self.right & (self.decided[:, column] == CERTIFIED))

    def open(self, column: int) -> NDArray[np.bool_]:
        """Whether the copies that were allowed left it open."""
        return np.asarray(self.right & (self.decided[:, column] == OPEN))

    def answer(self, column: int) -> str:
        """What is said of the first image's smoothed answer, right or wrong, at a radius."""
        return {CERTIFIED: "yes", OPEN: "open"}.get(int(self.decided[0, column]), "no")

    def beyond(self, radius: float) -> NDArray[np.bool_]:
        """Whether it is right and its own radius is larger."""
        return self.right & (np.nan_to_num(self.radius, nan=-1.0) > radius)


def read(reader: RunReader, variant: int) -> Found:
    """A run's images under one variant."""
    arrays = {name: reader.array(KIND, STAGE, name) for name in ARRAYS}
    return Found.of(arrays, np.asarray(reader.array(KIND, STAGE, "labels")), variant)


def middle(radii: list[str]) -> int:
    """Column of the middle one of the radii that were asked; the smaller of two."""
    return (len(radii) + 1) // 2


def shown_variant(summary: SmoothingSummary) -> str:
    """The noise that groups are shown for, in words."""
    return f"σ = {summary.variants[summary.first].sigma}"


def group_row(name: str, found: Found, column: int, class_index: int | None = None) -> GroupRow:
    """A group's accuracies without smoothing, with it, and certified at a radius."""
    return GroupRow(
        name=name,
        class_index=class_index,
        base=share(found.clean),
        smoothed=share(found.certified(0)),
        certified=share(found.certified(column)),
    )


def asked_radii(radii: list[str], found: Found) -> list[AskedRadius]:
    """Each radius that was asked."""
    return [
        AskedRadius(text=text, certified=share(found.certified(column)), open=int(found.open(column).sum()))
        for column, text in enumerate(radii, 1)
    ]
