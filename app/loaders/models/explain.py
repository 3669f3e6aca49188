"""Where a model's accuracy is not what its owner claims: which preprocessing explains the claim?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.loaders.models.alternatives import class_orders, geometries, normalisations
from app.loaders.models.spec import ModelSpec, Preprocessing
from app.numerics.intervals import wilson_interval

Scores = Callable[[Preprocessing], NDArray[np.float32] | None]


@dataclass(frozen=True)
class Tried:
    """One variant of the spec, and how often it was right on the labelled sample."""

    name: str
    spec: ModelSpec
    correct: int
    n: int

    @property
    def accuracy(self) -> float:
        """Share of the sample that was classified right."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        low, high = wilson_interval(self.correct, self.n)
        return float(low), float(high)

    def agrees_with(self, claimed: float) -> bool:
        """Whether the claim lies in the interval, or below it (nobody complains of a model that does better)."""
        return claimed <= self.interval[1]

    def as_json(self) -> dict[str, Any]:
        """Name, accuracy with its n and interval."""
        figures = {"accuracy": self.accuracy, "correct": self.correct, "n": self.n, "interval": list(self.interval)}
        return {"name": self.name, **figures}


def count_right(name: str, spec: ModelSpec, guesses: NDArray[np.intp], labels: Sequence[str]) -> Tried:
    """Compare guesses (indices of `spec.classes`) with labels (class names), both of length n."""
    names = np.asarray(spec.classes, dtype=object)[guesses]
    return Tried(name, spec, int((names == np.asarray(labels, dtype=object)).sum()), len(labels))


class Search:
    """Runs the variants over one labelled sample, until `deadline` (of `time.monotonic`).

    `scores` gives logits [n, C] for a preprocessing (None where it cannot be applied); `labels` are class names.
    """

    def __init__(
        self,
        spec: ModelSpec,
        labels: Sequence[str],
        dataset_classes: Sequence[str],
        scores: Scores,
        deadline: float = math.inf,
    ) -> None:
        self._spec, self._labels, self._dataset_classes = spec, labels, dataset_classes
        self._scores, self._deadline = scores, deadline
        self.tried: list[Tried] = []
        self.finished = True

    def run(self) -> Tried:
        """Try normalisations and colours, then geometries with the best of them; return the best of all."""
        self._attempt("as declared", self._spec.preprocessing)
        for name, steps in normalisations(self._spec.preprocessing):
            self._attempt(name, steps)
        found = self.best()
        steps = found.spec.preprocessing
        prefix = "" if steps == self._spec.preprocessing else f"{found.name}, "
        for name, other in geometries(steps):
            self._attempt(prefix + name, other)
        return self.best()

    def best(self) -> Tried:
        """The variant that was right most often; of equals, the one tried first."""
        return max(self.tried, key=lambda tried: tried.correct)

    def _attempt(self, name: str, steps: Preprocessing) -> None:
        if self.tried and time.monotonic() > self._deadline:
            self.finished = False
            return
        scores = self._scores(steps)
        if scores is None:
            return
        guesses = scores.argmax(1)
        spec = self._spec.model_copy(update={"preprocessing": steps})
        self.tried.append(count_right(name, spec, guesses, self._labels))
        for title, order in class_orders(self._spec.classes, self._dataset_classes):
            reordered = spec.model_copy(update={"classes": order})
            together = title if name == "as declared" else f"{name}, {title}"
            self.tried.append(count_right(together, reordered, guesses, self._labels))


def proposal(search: Search, best: Tried, declared: Tried, claimed: float | None) -> dict[str, Any] | None:
    """The variant `best`, where it is better than the declared one beyond both intervals; else None.

    `best` won the search and was then run on more rows, so that its figure owes little to having been picked.
    `explains` says whether the claim lies within its interval.
    """
    if best.interval[0] <= declared.interval[1]:
        return None
    most = max(tried.correct for tried in search.tried)
    equals = [tried.name for tried in search.tried if tried.correct == most and tried.name != best.name]
    return {
        **best.as_json(),
        "spec": best.spec.model_dump(mode="json"),
        "explains": claimed is None or best.agrees_with(claimed),
        "equally_good": equals[:5],
    }
