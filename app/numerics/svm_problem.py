"""The checked input of the per-class SVMs and its blocks of classes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.numerics.split import stratified_folds
from app.numerics.svm_cv import Block
from app.numerics.svm_rows import RowsByClass

ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class SvmSettings:
    """How the SVMs are fitted.

    `costs`: values of C to try, increasing. `n_folds`, `seed`: the stratified folds. `tolerance`: relative duality
    gap at which a problem counts as solved. `max_iterations`: per problem. `device`: where to compute, by default
    where the features are. `elements`: floats held at once, by default 2^21 on a CPU (its caches) and 2^28
    elsewhere. `threads`: on a CPU, per operation; more than one pays only for many permutations of large classes.
    """

    costs: tuple[float, ...] = tuple(np.logspace(-6, 0, 7).tolist())
    n_folds: int = 2
    seed: int = 0
    tolerance: float = 1e-4
    max_iterations: int = 2000
    device: str | None = None
    elements: int | None = None
    threads: int = 1


@dataclass(frozen=True)
class Problem:
    """`features` [N, d], `targets` bool [N], `folds` int64 [N], `rows` by class, `fitted` bool [P]: can be fitted."""

    features: Tensor
    targets: Tensor
    folds: Tensor
    rows: RowsByClass
    fitted: Tensor
    settings: SvmSettings

    @classmethod
    def of(
        cls,
        features: Tensor,
        targets: Tensor,
        groups: Tensor,
        n_groups: int,
        settings: SvmSettings,
        folds: Tensor | None,
    ) -> "Problem":
        """Check shapes and values, deal folds where none are given. Raises ValueError with the reason."""
        _check(features, targets, groups, n_groups, settings)
        if folds is None:
            folds = class_folds(targets, groups, settings.n_folds, settings.seed)
        _check_folds(folds, groups, settings.n_folds)
        targets, groups, folds = targets.cpu(), groups.cpu(), folds.cpu()
        fitted = _trainable(targets, groups, folds, n_groups, settings.n_folds)
        return cls(features, targets, folds, RowsByClass.of(groups, n_groups), fitted, settings)

    @property
    def device(self) -> torch.device:
        """Where blocks are solved."""
        return torch.device(self.settings.device) if self.settings.device else self.features.device

    def buckets(self, vectors: int) -> Iterator[Tensor]:
        """Batches of fitted classes (int64 [B] each) to be solved with `vectors` labellings at once."""
        default = 2**21 if self.device.type == "cpu" else 2**28
        classes = self.fitted.nonzero()[:, 0]
        dimensions = self.features.shape[1]
        return self.rows.buckets(classes, dimensions, vectors, self.settings.elements or default)

    def block(self, classes: Tensor) -> Block:
        """The rows of `classes` on the device, with their own targets as the only labelling."""
        rows = self.rows.block(classes)
        flat = self.features[rows.at.flatten().to(self.features.device)]
        features = flat.to(self.device, torch.float32).reshape(*rows.at.shape, -1)
        targets = self.targets[rows.at][:, None].to(self.device)
        return Block(features, rows.mask.to(self.device), self.folds[rows.at].to(self.device), targets)


def class_folds(targets: Tensor, groups: Tensor, n_folds: int = 2, seed: int = 0) -> Tensor:
    """Seeded folds, stratified by outcome within every class; int64 [N] in [0, n_folds).

    Within a class the sizes of the folds differ by at most one row, and so do their numbers of each outcome.

    Args:
        targets: bool [N]. groups: int64 [N], the class of each row. n_folds: at least 2.

    Raises:
        ValueError: fewer than 2 folds.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds is {n_folds}; cross-validation needs at least 2")
    strata = (groups * 2 + targets).cpu().numpy()
    return torch.from_numpy(stratified_folds(strata, n_folds, np.random.default_rng(seed)))


def _check(features: Tensor, targets: Tensor, groups: Tensor, n_groups: int, settings: SvmSettings) -> None:
    if features.dim() != 2 or not features.is_floating_point():
        raise ValueError(f"features are {features.dtype} {list(features.shape)}; need floating point [N, d]")
    if targets.dtype != torch.bool or targets.shape != features.shape[:1]:
        raise ValueError(f"targets are {targets.dtype} {list(targets.shape)}; need bool [{len(features)}]")
    if groups.dtype != torch.int64 or groups.shape != features.shape[:1]:
        raise ValueError(f"groups are {groups.dtype} {list(groups.shape)}; need int64 [{len(features)}]")
    if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < n_groups:
        raise ValueError(f"groups run from {groups.min()} to {groups.max()}; need values in [0, {n_groups})")
    if not settings.costs or min(settings.costs) <= 0 or list(settings.costs) != sorted(settings.costs):
        raise ValueError(f"costs are {settings.costs}; need positive values in increasing order")
    for first in range(0, len(features), ROWS_AT_ONCE):
        bad = (~features[first : first + ROWS_AT_ONCE].isfinite()).any(1)
        if bad.any():
            row = first + int(bad.nonzero()[0, 0])
            raise ValueError(f"features of row {row} are NaN or infinite; every value must be finite")


def _check_folds(folds: Tensor, groups: Tensor, n_folds: int) -> None:
    if folds.dtype != torch.int64 or folds.shape != groups.shape:
        raise ValueError(f"folds are {folds.dtype} {list(folds.shape)}; need int64 {list(groups.shape)}")
    if len(folds) and not 0 <= int(folds.min()) <= int(folds.max()) < n_folds:
        raise ValueError(f"folds run from {folds.min()} to {folds.max()}; need values in [0, {n_folds})")


def _trainable(targets: Tensor, groups: Tensor, folds: Tensor, n_groups: int, n_folds: int) -> Tensor:
    """Classes of which each outcome occurs outside every fold; bool [P]."""
    cell = (groups * 2 + targets.to(torch.int64)) * n_folds + folds
    counts = torch.bincount(cell, minlength=n_groups * 2 * n_folds).reshape(n_groups, 2, n_folds)
    return (counts.sum(2, keepdim=True) > counts).all(2).all(1)
