"""Embeddings made comparable: standardised by a reference split, rows of unit length."""

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS_AT_ONCE = 16_384
CONSTANT = 1e-6


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation of each dimension over a reference split, both float32 [d]; `std` > 0."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, reference: Tensor) -> "Standardiser":
        """Measure `reference` (float [N, d], N >= 1); sums in float64, population variance (divided by N).

        A dimension whose std is below 1e-6 of its largest magnitude is constant up to rounding and gets std 1:
        standardised, it is 0.

        Raises:
            ValueError: no rows, not [N, d], or NaN or infinite values.
        """
        _check(reference)
        if len(reference) == 0:
            raise ValueError("the reference split has no rows; mean and std need at least one")
        mean = _sum(reference, torch.zeros(reference.shape[1]), 1) / len(reference)
        std = (_sum(reference, mean, 2) / len(reference)).sqrt()
        magnitude = torch.maximum(reference.amax(0), -reference.amin(0)).double()
        std = torch.where(std > CONSTANT * magnitude, std, torch.ones_like(std))
        return cls(mean.float(), std.float())

    def apply(self, features: Tensor) -> Tensor:
        """(x - mean) / std of `features` [N, d]; float32 [N, d]."""
        return features.float().sub(self.mean).div_(self.std)

    def unit_rows(self, features: Tensor, out: Tensor | None = None) -> Tensor:
        """Standardised rows of Euclidean length 1 (a row at the mean stays 0); float32 [N, d].

        Args:
            features: float [N, d], may be memory-mapped: it is read block by block.
            out: float32 [N, d] to write to, for instance a memory-mapped file.

        Raises:
            ValueError: not [N, d], or NaN or infinite values.
        """
        _check(features)
        out = torch.empty(features.shape, device=features.device) if out is None else out
        for first in range(0, len(features), ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            out[part] = unit_rows(self.apply(features[part]))
        return out


def unit_rows(features: Tensor) -> Tensor:
    """Rows divided by their Euclidean length; zero rows stay zero. Float [N, d] to float [N, d]."""
    length = features.norm(dim=1, keepdim=True)
    return features / torch.where(length > 0, length, torch.ones_like(length))


def _sum(features: Tensor, centre: Tensor, power: int) -> Tensor:
    """Sum over rows of (x - centre) ** power; float64 [d]."""
    centre = centre.to(features.device, torch.float64)
    total = torch.zeros_like(centre)
    for first in range(0, len(features), ROWS_AT_ONCE):
        total += ((features[first : first + ROWS_AT_ONCE] - centre) ** power).sum(0)
    return total


def _check(features: Tensor) -> None:
    if features.dim() != 2:
        raise ValueError(f"embeddings are {list(features.shape)}; need [N, d]")
    for first in range(0, len(features), ROWS_AT_ONCE):
        bad = (~features[first : first + ROWS_AT_ONCE].isfinite()).any(1)
        if bad.any():
            row = first + int(bad.nonzero()[0, 0])
            raise ValueError(f"the embedding of row {row} is NaN or infinite; every value must be finite")
