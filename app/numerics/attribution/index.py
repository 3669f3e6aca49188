"""Why this prediction: the training rows that matter most for one target, from features kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from app.numerics.attribution.quantised import QuantisedRows


class Ends(NamedTuple):
    """`rows` int64 [2 · count] and `scores` float32, the most helpful first, the most harmful last."""

    rows: Tensor
    scores: Tensor


class AttributionIndex(NamedTuple):
    """Training features of every checkpoint, and `doubt` float32 [N], the mean of 1 − p_y over checkpoints."""

    checkpoints: Sequence[QuantisedRows]
    doubt: Tensor

    def scores(self, solved: Tensor) -> Tensor:
        """TRAK scores float32 [N] of one target.

        Args:
            solved: float32 [C, k], its gradients after `Spectrum.solve`, one row for each checkpoint.
        """
        total = torch.zeros(len(self.doubt))
        for rows, query in zip(self.checkpoints, solved, strict=True):
            total += rows.dot(query[None])[:, 0]
        return total.mul_(self.doubt / len(self.checkpoints))

    def ends(self, solved: Tensor, count: int) -> Ends:
        """The `count` most helpful and the `count` most harmful rows."""
        scores = self.scores(solved)
        high, low = scores.topk(count), scores.topk(count, largest=False)
        return Ends(torch.cat([high.indices, low.indices.flip(0)]), torch.cat([high.values, low.values.flip(0)]))


def mapped_rows(codes: Path, scales: Path) -> QuantisedRows:
    """Quantised rows of two .npy files; the codes stay on disk until they are read. Nothing may write to them."""
    # Copy on write: torch wants memory that could be written, the file stays as it is.
    return QuantisedRows(
        torch.from_numpy(np.load(codes, mmap_mode="c", allow_pickle=False)),
        torch.from_numpy(np.load(scales, allow_pickle=False)),
    )
