"""Weights of many targets of which few are not zero."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class SparseWeights(NamedTuple):
    """Target j has the weights `values` float32 on the training rows `rows` int32, from `starts[j]` to `starts[j + 1]`.

    Rows ascend within a target; `starts` is int64 [m + 1].
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    values: NDArray[np.float32]


class SparseCollector:
    """Takes dense blocks of targets in order and keeps what is not zero."""

    def __init__(self) -> None:
        self._counts: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int32]] = []
        self._values: list[NDArray[np.float32]] = []

    def add(self, weights: Tensor) -> None:
        """Take in the weights float32 [N, b] of the next b targets."""
        columns = weights.T.contiguous().numpy()
        target, row = np.nonzero(columns)
        self._counts.append(np.bincount(target, minlength=len(columns)))
        self._rows.append(row.astype(np.int32))
        self._values.append(columns[target, row].astype(np.float32))

    def weights(self) -> SparseWeights:
        """All of them."""
        counts = np.concatenate([np.zeros(1, np.int64), *self._counts])
        rows = np.concatenate([np.zeros(0, np.int32), *self._rows])
        return SparseWeights(counts.cumsum(), rows, np.concatenate([np.zeros(0, np.float32), *self._values]))
