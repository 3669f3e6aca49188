"""Images of both sets as pages show them. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.audits.base import RunReader, Subject
from app.audits.pieces import Thumb
from app.audits.shift.schema import ShiftSummary

KIND = "shift"


class SecondSet:
    """The second set's rows: what the model said of each."""

    def __init__(self, reader: RunReader, summary: ShiftSummary) -> None:
        assert summary.second is not None
        self._reader, self._dataset = reader, summary.second.dataset_id
        names = ("rows", "labels", "predictions", "confidence", "pictured")
        self.rows, self.labels, self.predictions, self.confidence, self.pictured = (
            reader.array(KIND, "accuracy", name) for name in names
        )

    def name(self, index: int) -> str:
        """A class's name."""
        return self._reader.classes[index] if 0 <= index < len(self._reader.classes) else "no label"

    def wrong(self, place: int) -> bool | None:
        """Whether the model is wrong on an image; None where it has no label."""
        return None if self.labels[place] < 0 else bool(self.labels[place] != self.predictions[place])

    def picture(self, place: int) -> str:
        """Path of its picture; empty where it came without one."""
        return "" if not self.pictured[place] else self._reader.picture(int(self.rows[place]), self._dataset)

    def thumb(self, place: int, text: str = "") -> Thumb:
        """An image of the second set, leading to its page."""
        wrong, taken = self.wrong(place), self.name(int(self.predictions[place]))
        label = self.name(int(self.labels[place]))
        told = f"{label}, taken for {taken}" if wrong is not False else f"{label}, recognised"
        href = self._reader.link(Subject("cell", self._reader.run_id, key=f"{KIND}/image-{place}"))
        alt = f"{told}, confidence {100 * float(self.confidence[place]):.0f} %"
        return Thumb(src=self.picture(place), alt=alt, href=href, text=text or (taken if wrong else ""), wrong=wrong)

    def thumbs(self, places: Sequence[int]) -> list[Thumb]:
        """Images of the second set."""
        return [self.thumb(place) for place in places if self.picture(place)]

    def worst(self, chosen: NDArray[np.bool_], most: int) -> list[int]:
        """Places of the chosen rows, the surest mistakes first."""
        places = np.flatnonzero(chosen)
        wrong = (self.labels != self.predictions)[places] & (self.labels[places] >= 0)
        found: list[int] = places[np.lexsort((places, -self.confidence[places], ~wrong))][:most].tolist()
        return found


def first_thumbs(reader: RunReader, positions: Sequence[int]) -> list[Thumb]:
    """Images of the audited split."""
    return [thumb for thumb in reader.thumbs(list(positions)) if thumb]
