"""The inverse second moment of features under any ridge, from one eigen-decomposition."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

DEFAULT_RIDGE = 2.5
"""Ridge of a single checkpoint where no retrained network chooses one: within .01 of the best linear datamodelling
score on three tasks (`benchmarks/attribution_ridge.py`). Where there are several, `agreed_ridge` chooses."""


class Spectrum:
    """Eigen-decomposition of ΦᵀΦ: `values` float64 [r] descending, `vectors` [k, r], r = min(k, N).

    `vectors` are float64 as computed, and may be float32 as kept on disk: `solve` computes in their type.

    The ridge is relative: `ridge` = 1 means λ equal to the mean of the k eigenvalues of ΦᵀΦ.
    """

    def __init__(self, values: Tensor, vectors: Tensor) -> None:
        self.values, self.vectors = values, vectors

    @property
    def mean(self) -> float:
        """Mean eigenvalue of ΦᵀΦ over all k, zeros included."""
        return float(self.values.sum()) / len(self.vectors)

    @classmethod
    def of(cls, blocks: Iterable[Tensor]) -> Spectrum:
        """Decompose features given in blocks of rows, each float [n, k].

        Works in the smaller of k and N: from ΦᵀΦ summed over blocks, or from ΦΦᵀ where there are fewer rows than
        features in the first (and only) block.

        Raises:
            ValueError: no rows.
        """
        parts = iter(blocks)
        first = next(parts, None)
        if first is None or not first.numel():
            raise ValueError("There are no training features.")
        rest = next(parts, None)
        if rest is None and len(first) < first.shape[1]:
            return cls._from_rows(first.double())
        moment = (first.T @ first).double()
        while rest is not None:
            moment += (rest.T @ rest).double()
            rest = next(parts, None)
        values, vectors = torch.linalg.eigh(moment)
        return cls(values.flip(0).clamp(min=0), vectors.flip(1))

    @classmethod
    def _from_rows(cls, rows: Tensor) -> Spectrum:
        values, left = torch.linalg.eigh(rows @ rows.T)
        values, left = values.flip(0).clamp(min=0), left.flip(1)
        kept = values > values[0] * 1e-12
        vectors = rows.T @ left[:, kept] / values[kept].sqrt()
        return cls(values[kept], vectors)

    def solve(self, queries: Tensor, ridge: float) -> Tensor:
        """Return (ΦᵀΦ + λI)⁻¹ q for each row q of `queries` [m, k], float32.

        With float32 vectors the relative error of a direction is that of a float times (its eigenvalue + λ)/λ.

        Raises:
            ValueError: `ridge` is not positive; without one the inverse follows noise (or does not exist).
        """
        if ridge <= 0:
            raise ValueError("The ridge must be positive.")
        amount = ridge * self.mean
        q = queries.to(self.vectors.dtype)
        inside = q @ self.vectors
        shrunk = inside * (1 / (self.values + amount) - 1 / amount).to(q)
        return (q / amount + shrunk @ self.vectors.T).float()
