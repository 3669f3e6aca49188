"""A datamodel as the stage `fit` left it, for later stages and for pages. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.audits.datamodels.schema import Linear

Load = Callable[[str], np.ndarray]
"""Name of a detail array → the array."""
Rows = NDArray[np.int64]


class Group(NamedTuple):
    """Training rows; `label`: they are all that have it, so that weights which were not kept count as well."""

    rows: Rows
    label: int | None = None


class Mean(NamedTuple):
    """The mean datamodel of some targets: `weights` float64 [N] and what is known of its errors.

    `rest` float64 [classes] are sums of weights that were not kept. `error` is the root mean square, over `subsets`
    held-out subsets, of what the mean prediction misses by; `targets` says how many the mean is over.
    """

    weights: NDArray[np.float64]
    rest: NDArray[np.float64]
    intercept: float
    error: float
    subsets: int
    targets: int

    def everything(self) -> float:
        """Predicted margin of a network trained on all images."""
        return self.intercept + float(self.weights.sum() + self.rest.sum())

    def without(self, group: Group) -> float:
        """Predicted margin of a network trained on all images but these."""
        return self.everything() - self._sum(group)

    def only(self, group: Group) -> float:
        """Predicted margin of a network trained on these images."""
        return self.intercept + self._sum(group)

    def by_class(self, labels: NDArray[np.int32]) -> NDArray[np.float64]:
        """Sum of the weights of each class, float64 [classes]."""
        known = labels >= 0
        summed: NDArray[np.float64] = np.bincount(labels[known], self.weights[known], minlength=len(self.rest)).astype(
            np.float64
        )
        summed[: len(self.rest)] += self.rest
        return summed

    def _sum(self, group: Group) -> float:
        rest = 0.0 if group.label is None or group.label >= len(self.rest) else self.rest[group.label]
        return float(self.weights[group.rows].sum() + rest)

    def top(self, count: int) -> Rows:
        """The rows with the largest weights, at most `count`, only positive ones."""
        order = np.argsort(-self.weights, kind="stable")[:count]
        return order[self.weights[order] > 0]

    def bottom(self, count: int) -> Rows:
        """The rows with the smallest weights, at most `count`, only negative ones."""
        order = np.argsort(self.weights, kind="stable")[:count]
        return order[self.weights[order] < 0]


class KeptDatamodel:
    """Weights on `rows` training images for each of `targets` int64 [m], places in the audited split."""

    def __init__(self, method: Linear, rows: int, load: Load) -> None:
        self.method, self.rows, self.targets = method, rows, np.asarray(load("targets"))
        names = ("starts", "places", "weights", "rest", "intercepts", "predicted")
        self._starts, self._places, self._weights, self._rest, self._intercepts, self._predicted = (
            load(f"{method}.{name}") for name in names
        )
        self._actual = load("actual")

    def columns_of(self, positions: Rows) -> Rows:
        """Columns of the targets among these places of the audited split."""
        return np.flatnonzero(np.isin(self.targets, positions))

    def mean(self, columns: Rows) -> Mean:
        """The mean datamodel of some targets, at least one."""
        weights = np.zeros(self.rows)
        for j in columns.tolist():
            some = slice(self._starts[j], self._starts[j + 1])
            weights[self._places[some]] += self._weights[some]
        missed = (self._actual[:, columns] - self._predicted[:, columns]).mean(axis=1, dtype=np.float64)
        return Mean(
            weights / len(columns),
            self._rest[columns].mean(axis=0, dtype=np.float64),
            float(self._intercepts[columns].mean()),
            float(np.sqrt(np.square(missed).mean())),
            len(missed),
            len(columns),
        )

    def felt(self, place: int) -> tuple[Rows, NDArray[np.float32]]:
        """Columns of the targets on which a training row has a weight, and the weights."""
        found = np.flatnonzero(np.asarray(self._places) == place)
        columns = np.searchsorted(self._starts, found, side="right") - 1
        return columns, np.asarray(self._weights[found])
