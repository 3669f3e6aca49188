"""Weights of many targets of which few count."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
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
    """Takes dense blocks of targets in order and keeps what is not zero, at most `most` weights of each target."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.int32]] = []
        self._values: list[NDArray[np.float32]] = []

    def add(self, weights: Tensor) -> Tensor:
        """Take in the weights float32 [N, b] of the next b targets; return the small ones that are not kept, [N, b]."""
        kept = _largest(weights, self._most)
        columns = kept.T.contiguous().numpy()
        target, row = np.nonzero(columns)
        self._counts.append(np.bincount(target, minlength=len(columns)))
        self._rows.append(row.astype(np.int32))
        self._values.append(columns[target, row].astype(np.float32))
        return weights - kept

    def weights(self) -> SparseWeights:
        """All of them."""
        counts = np.concatenate([np.zeros(1, np.int64), *self._counts])
        rows = np.concatenate([np.zeros(0, np.int32), *self._rows])
        return SparseWeights(counts.cumsum(), rows, np.concatenate([np.zeros(0, np.float32), *self._values]))


def _largest(weights: Tensor, most: int) -> Tensor:
    """The weights with all but the `most` largest of each column set to zero."""
    if len(weights) <= most:
        return weights
    rows = weights.abs().topk(most, dim=0).indices
    return torch.zeros_like(weights).scatter_(0, rows, weights.gather(0, rows))
