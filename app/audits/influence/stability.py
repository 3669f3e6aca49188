"""How stable TRAK's lists are: what either half of the checkpoints, or of a single one's features, calls the ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import Split
from app.audits.influence.schema import SharedTops, Stability
from app.audits.influence.scores import Attributor
from app.numerics.attribution.halves import chance_shared, checkpoint_halves, shared_tops
from app.numerics.attribution.quantised import QuantisedRows
from app.numerics.attribution.trak import Checkpoint, trak_scores

COMPARED = 20
"""Images at each end that are compared; a fifth of the training split where that is fewer."""


class Halved(NamedTuple):
    """Scores float32 [N, m] by all the evidence, and by either half of it."""

    scores: Tensor
    first: Tensor
    second: Tensor


class HalvedTrak:
    """TRAK with its evidence in two halves; of several checkpoints the whole costs no more than the halves."""

    def __init__(self, points: Sequence[Checkpoint]) -> None:
        doubt = torch.stack([point.doubt for point in points]).mean(dim=0)
        self._points = [point._replace(doubt=doubt) for point in points]
        self._halves = checkpoint_halves(self._points)

    def scores(self, targets: Sequence[Tensor], ridge: float) -> Halved:
        """Score targets, whose features at each checkpoint are float32 [m, k]."""
        if len(self._points) == 1:
            only, sides = targets[0], [targets[0][:, 0::2], targets[0][:, 1::2]]
            first, second = (self._side(side, [own], ridge) for side, own in enumerate(sides))
            return Halved(trak_scores([self._points[0]._replace(targets=only)], ridge), first, second)
        first, second = self._side(0, targets[0::2], ridge), self._side(1, targets[1::2], ridge)
        share = len(self._halves[0]) / len(self._points)
        return Halved(share * first + (1 - share) * second, first, second)

    def _side(self, side: int, targets: Sequence[Tensor], ridge: float) -> Tensor:
        points = zip(self._halves[side], targets, strict=True)
        return trak_scores([point._replace(targets=own) for point, own in points], ridge)


class StableTrak:
    """TRAK's scores of blocks of targets, as `Attributor.methods` gives them; collects how stable their ends are."""

    def __init__(self, found: Attributor) -> None:
        self._found, self._halved = found, HalvedTrak(found.trained)
        rows = len(found.train.manifest)
        self._count, self._shared = compared(rows), list[Tensor]()
        self._squares, self._targets = torch.zeros(rows, dtype=torch.float64), 0

    def __call__(self, places: NDArray[np.int64]) -> Tensor:
        """Return float32 [N, m]."""
        assert self._found.ridge is not None
        targets = [rows_at(self._found.targets, c, places) for c in range(len(self._found.trained))]
        found = self._halved.scores(targets, self._found.ridge)
        self._shared.append(shared_tops(found.first, found.second, self._count))
        self._squares += (found.first.square() + found.second.square()).sum(dim=1)
        self._targets += len(places)
        return found.scores

    def shared(self) -> NDArray[np.uint8]:
        """Images that both halves name, uint8 [m, 2]: among the most helpful, among the most harmful."""
        return torch.cat(self._shared).to(torch.uint8).numpy()

    def summary(self) -> Stability:
        """Over all targets so far, beside what chance gives to images whose scores are as large as these."""
        generator = torch.Generator().manual_seed(self._found.inputs.seed)
        scale = (self._squares / (2 * self._targets)).sqrt().float()
        chance, shared = chance_shared(scale, self._count, generator), self.shared()
        return Stability(
            halves="checkpoints" if len(self._found.trained) > 1 else "features",
            compared=self._count,
            chance=chance.mean,
            noise=chance.most,
            targets=len(shared),
            helpful=_tops(shared[:, 0], chance.most),
            harmful=_tops(shared[:, 1], chance.most),
        )


def rows_at(split: Split, checkpoint: int, places: NDArray[np.int64]) -> Tensor:
    """Sketched gradients float32 [m, k] of some rows of a split; only these are read."""
    codes, scales = _at(split, checkpoint, places)
    return QuantisedRows(torch.from_numpy(codes), torch.from_numpy(scales)).rows()


def mean_row(split: Split, checkpoint: int, places: NDArray[np.int64]) -> Tensor:
    """Mean sketched gradient of some rows, float32 [1, k]; only these are read."""
    codes, scales = (np.asarray(one, np.float32) for one in _at(split, checkpoint, places))
    return torch.from_numpy(scales @ codes)[None] / len(places)


def _at(split: Split, checkpoint: int, places: NDArray[np.int64]) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    codes, scales = (split.model[f"gradients.{name}-{checkpoint}"][places] for name in ("codes", "scales"))
    return codes, scales


def compared(rows: int) -> int:
    """Images at each end that the halves' lists are compared on, at least one."""
    return max(min(COMPARED, rows // 5), 1)


def _tops(shared: NDArray[np.uint8], noise: int) -> SharedTops:
    mean = float(shared.mean())
    half = 1.96 * float(shared.std(ddof=min(1, len(shared) - 1))) / len(shared) ** 0.5
    return SharedTops(mean=mean, low=mean - half, high=mean + half, noisy=int((shared <= noise).sum()))
