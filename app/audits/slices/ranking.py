"""The order of a run's slices, and which of them repeat a better one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.audits.slices.rows import Ints
from app.audits.slices.schema import MethodSummary, SliceMetrics

SAME = 0.5
"""Share of the larger one's rows that two slices have in common when they are the same."""
BASELINE = "confidence"


@dataclass(frozen=True)
class Measured:
    """A candidate with what the confirm rows say of it."""

    key: str
    method: str
    note: str
    confirmed: bool
    class_index: int
    metrics: SliceMetrics
    rows: Ints


def behind(methods: Sequence[MethodSummary]) -> set[str]:
    """Methods that come last: those that find planted slices no better than the least confident rows do.

    Where some method does better, the baseline itself comes last too.
    """
    known: dict[str, float] = {m.method: m.precision_at_10 for m in methods if m.precision_at_10 is not None}
    bar = known.pop(BASELINE, None)
    if bar is None:
        return set()
    trailing: set[str] = {method for method, precision in known.items() if precision <= bar}
    return trailing | ({BASELINE} if len(trailing) < len(known) else set())


def ranked(found: Sequence[Measured], last: set[str]) -> list[int]:
    """Indices into `found`: confirmed first, repetitions and trailing methods late, then by how surely it exceeds."""

    def place(i: int) -> tuple[bool, bool, bool, float]:
        m = found[i].metrics
        return not found[i].confirmed, found[i].method in last, bool(m.same_as), m.rest.value - m.errors.low

    return sorted(range(len(found)), key=place)


def mark_same(found: Sequence[Measured], methods: Sequence[str], last: set[str]) -> None:
    """Note in the metrics of each the slice of its class that it repeats.

    Of two that are the same, the one whose method comes first in `methods` is kept, so that a direction, which has
    pictures and words, stands before the metadata that it follows; within a method, the one in front.
    """
    kept: dict[int, list[Measured]] = {}
    preferred = {method: i for i, method in enumerate(methods)}

    def place(m: Measured) -> tuple[bool, bool, int]:
        return not m.confirmed, m.method in last, preferred.get(m.method, len(preferred))

    for mine in sorted(found, key=place):
        better = kept.setdefault(mine.class_index, [])
        shared = ((other.key, _common_share(mine.rows, other.rows)) for other in better)
        mine.metrics.same_as = next((key for key, share in shared if share >= SAME), "")
        if not mine.metrics.same_as:
            better.append(mine)


def _common_share(first: Ints, second: Ints) -> float:
    return len(np.intersect1d(first, second, assume_unique=True)) / max(len(first), len(second), 1)
