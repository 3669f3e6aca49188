"""What a slice is called that neither its method nor a caption names: its class, and what it is mistaken for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.audits.slices.schema import SliceMetrics


class Untitled:
    """Gives names that a person can tell apart; those of one kind are counted in the order of the list."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._given: Counter[str] = Counter()

    def name(self, class_index: int, metrics: SliceMetrics) -> str:
        """Return such as “Cat mistaken for dog, group 2”."""
        kind = self._classes[class_index]
        if metrics.mistaken_for:
            kind += f" mistaken for {metrics.mistaken_for[0].name}"
        kind = kind[:1].upper() + kind[1:]
        self._given[kind] += 1
        return f"{kind}, group {self._given[kind]}"
