"""What is kept of a method's scores while they pass by, block by block."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.datamodels.methods import Scored
from app.audits.datamodels.schema import LINEAR, LISTED, Fitted
from app.numerics.attribution.sparse_weights import SparseCollector

Arrays = dict[str, NDArray[np.generic]]


MOST_WEIGHTS = 4096
"""Weights kept of each target; of the others, the smallest, only the sum over each class."""


class Gathered:
    """One method's two ends for each target, its predictions for the networks that judge, and its weights.

    `labels` int64 [N] are those of the training rows, −1 where unknown.
    """

    def __init__(self, method: Fitted, labels: Tensor, top: int) -> None:
        rows = len(labels)
        self.method, self._labels, self._top = method, labels, min(top, max(rows // 2, 1))
        self._weights, self._sums = SparseCollector(MOST_WEIGHTS), torch.zeros(2, 2, rows, dtype=torch.float64)
        self._columns: dict[str, list[Tensor]] = {}

    @property
    def linear(self) -> bool:
        """Whether the method predicts outputs themselves."""
        return self.method in LINEAR

    def add(self, scored: Scored, held: Tensor, wrong: Tensor) -> None:
        """Take in a block: `held` bool [S, N] are the subsets that judge, `wrong` bool [b] the model's mistakes."""
        found = {"predicted": held.float() @ scored.scores}
        if self.method in LISTED:
            found["rows"], found["scores"] = _ends(scored.scores, self._top)
        if scored.intercepts is not None and scored.fit is not None:
            found["predicted"] += scored.intercepts
            found |= {"intercepts": scored.intercepts, "fit": scored.fit, **_facts(scored)}
            found["rest"] = self._by_class(self._weights.add(scored.scores))
            for place, chosen in enumerate((torch.ones_like(wrong), wrong)):
                some = scored.scores[:, chosen].double()
                self._sums[place] += torch.stack([some.sum(dim=1), some.square().sum(dim=1)])
        for name, values in found.items():
            self._columns.setdefault(name, []).append(values)

    def joined(self, name: str) -> Tensor:
        """One of `predicted` [S, m], `fit`, `margin`, `weights` and `support` [m], over all targets."""
        return torch.cat(self._columns[name], dim=1 if name == "predicted" else 0)

    def arrays(self) -> Arrays:
        """Details of the stage, see `app.audits.datamodels.fit`."""
        found: Arrays = {}
        if self.method in LISTED:
            found |= {"rows": self.joined("rows").int().numpy(), "scores": self.joined("scores").float().numpy()}
        if self.linear:
            found |= dict(zip(("starts", "places", "weights"), self._weights.weights(), strict=True))
            found |= {name: self.joined(name).numpy() for name in ("intercepts", "predicted", "rest")}
        return {f"{self.method}.{name}": values for name, values in found.items()}

    def _by_class(self, small: Tensor) -> Tensor:
        """Sums over each class of the weights that are not kept, [b, classes]; unlabelled rows have no weight."""
        known = self._labels.clamp(min=0)
        found = torch.zeros(int(known.max()) + 1, small.shape[1])
        return found.index_add_(0, known, small).T.contiguous()

    def means(self, targets: int, wrong: int) -> Arrays:
        """Mean weight of each training row over all targets and over the model's mistakes, and standard errors."""
        found: Arrays = {}
        for place, (name, count) in enumerate((("mean", targets), ("wrong", wrong))):
            mean = self._sums[place, 0] / max(count, 1)
            spread = (self._sums[place, 1] / max(count, 1) - mean.square()).clamp(min=0)
            error = (spread / (count - 1)).sqrt() if count > 1 else torch.full_like(mean, torch.nan)
            found |= {f"{self.method}.{name}": mean.numpy(), f"{self.method}.{name}_error": error.numpy()}
        return found


def _ends(scores: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The `top` highest and lowest of each column, int64 and float [b, 2·top], highest first."""
    high, low = scores.topk(top, dim=0), scores.topk(top, dim=0, largest=False)
    rows, values = (torch.cat([a, b.flip(0)]).T for a, b in zip((high[1], high[0]), (low[1], low[0]), strict=True))
    return rows, values


def _facts(scored: Scored) -> dict[str, Tensor]:
    assert scored.intercepts is not None
    everything = scored.scores.sum(dim=0) + scored.intercepts
    return {
        "margin": everything,
        "weights": (scored.scores != 0).sum(dim=0),
        "support": support(scored.scores, everything),
    }


def support(weights: Tensor, everything: Tensor) -> Tensor:
    """Fewest rows whose removal brings the predicted margin below zero, int64 [m]; −1 where none do.

    Args:
        weights: float [N, m].
        everything: float [m], the predicted margin with all rows.

    Source: Ilyas et al. 2022, section 4.1 (data support).
    """
    falls = weights.clamp(min=0).sort(dim=0, descending=True).values.double().cumsum(dim=0)
    enough = everything.double() - falls < 0
    first = torch.where(enough.any(dim=0), enough.int().argmax(dim=0) + 1, -1)
    return torch.where(everything < 0, 0, first)
