"""Shares and means of outcomes with their intervals. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.audits.corruptions.schema import GroupRow, KindRow
from app.audits.drawn import share
from app.audits.pieces import Estimate
from app.numerics.corruptions.parameters import ALEXNET_ERRORS

_Z = 1.959964

Outcomes = NDArray[np.int8]
"""[m, 1 + cells] of images that were measured: 1 right, 0 wrong; column 0 is the clean image."""


def kind_rows(outcome: Outcomes, asked: Sequence[tuple[str, int]], *, normalised: bool) -> list[KindRow]:
    """Each kind's accuracy by severity; `outcome` is int8 [m, 1 + cells]."""
    found: dict[str, list[Estimate]] = {}
    for column, (kind, _) in enumerate(asked, 1):
        found.setdefault(kind, []).append(share(outcome[:, column]))
    errors = {kind: 1 - float(np.mean([cell.value for cell in row])) for kind, row in found.items()}
    return [
        KindRow(
            kind=kind,
            cells=row,
            error=errors[kind],
            alexnet=errors[kind] / ALEXNET_ERRORS[kind] if normalised and kind in ALEXNET_ERRORS else None,
        )
        for kind, row in found.items()
    ]


def mean_of(values: NDArray[np.float64]) -> Estimate:
    """Mean over images, with the normal interval: the cells of an image hang together, images do not."""
    mean, half = float(values.mean()), _Z * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 1.0
    return Estimate(value=mean, low=max(mean - half, -1.0), high=min(mean + half, 1.0), n=len(values))


def group_row(name: str, outcome: Outcomes, class_index: int | None = None) -> GroupRow:
    """Clean and corrupted accuracy of a group's outcomes."""
    corrupted = mean_of(outcome[:, 1:].mean(axis=1))
    corrupted = corrupted.model_copy(update={"low": max(corrupted.low or 0.0, 0.0)})
    return GroupRow(name=name, class_index=class_index, clean=share(outcome[:, 0]), corrupted=corrupted)
