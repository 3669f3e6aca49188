"""One direction per class: linear SVMs on fit rows, their strength, and the strength's permutation null."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.audits.slices.rows import Ints, Rows
from app.numerics.svm import LinearSvms, fit_linear_svms
from app.numerics.svm_null import permutation_p_values, permutation_strength
from app.numerics.svm_problem import SvmSettings

ROWS_AT_ONCE = 100_000
NULL_PERCENTILE = 0.95


@dataclass(frozen=True)
class Directions:
    """One entry per class; NaN where a class could not be fitted."""

    weights: Tensor
    """float32 [C, d], pointing to right predictions (easy)."""
    decision: np.ndarray
    """float32 [n]: positive = expected right, most negative = hard; NaN for rows that take no part."""
    strength: np.ndarray
    null_95: np.ndarray
    p_value: np.ndarray
    cost: np.ndarray
    fitted: np.ndarray


def fit_directions(rows: Rows, seed: int, permutations: int) -> Iterator[float | Directions]:
    """Fit all classes, a few at a time; yield the share done after each part, and the directions at the end."""
    count, dimension = len(rows.classes), rows.embeddings.shape[1]
    found = Directions(
        torch.full((count, dimension), torch.nan),
        np.full(len(rows.labels), np.nan),
        strength=np.full(count, np.nan),
        null_95=np.full(count, np.nan),
        p_value=np.full(count, np.nan),
        cost=np.full(count, np.nan),
        fitted=np.zeros(count, bool),
    )
    done = 0
    for part in _parts(rows):
        _fit_part(rows, part, seed, permutations, found)
        done += len(part)
        yield done / count
    yield found


def class_strengths(features: Tensor, targets: Tensor, groups: Tensor, classes: int, seed: int) -> Tensor:
    """Return the cross-validated strength of each class in another space: float64 [C], NaN where not fitted."""
    svms = fit_linear_svms(features, targets, groups, classes, SvmSettings(seed=seed))
    return svms.strength


def _parts(rows: Rows) -> Iterator[list[tuple[int, Ints]]]:
    """Classes in groups whose features fit in memory together."""
    part: list[tuple[int, Ints]] = []
    for index, positions in rows.by_class():
        if part and sum(len(p) for _, p in part) + len(positions) > ROWS_AT_ONCE:
            yield part
            part = []
        part.append((index, positions))
    if part:
        yield part


def _fit_part(rows: Rows, part: list[tuple[int, Ints]], seed: int, permutations: int, found: Directions) -> None:
    positions = np.concatenate([p for _, p in part])
    groups = torch.from_numpy(np.concatenate([np.full(len(p), i) for i, (_, p) in enumerate(part)]))
    features, right = rows.features(positions), torch.from_numpy(rows.correct[positions])
    fit = torch.from_numpy(rows.fit[positions])
    settings = SvmSettings(seed=seed)
    data = (features[fit], right[fit], groups[fit], len(part), settings)
    svms = fit_linear_svms(*data)
    null = permutation_strength(*data[:4], permutations, settings, seed=seed) if permutations else None
    _record(found, [index for index, _ in part], svms, null)
    found.decision[positions] = svms.decision_values(features, groups.to(features.device)).cpu().numpy()


def _record(found: Directions, indices: list[int], svms: LinearSvms, null: Tensor | None) -> None:
    found.weights[indices] = svms.weights.cpu()
    found.strength[indices] = svms.strength.cpu().numpy()
    found.cost[indices] = svms.chosen_cost.cpu().numpy()
    found.fitted[indices] = svms.fitted.cpu().numpy()
    if null is not None:
        found.null_95[indices] = torch.quantile(null, NULL_PERCENTILE, dim=0).cpu().numpy()
        found.p_value[indices] = permutation_p_values(svms.strength, null).cpu().numpy()
