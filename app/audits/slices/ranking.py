"""The order of a run's slices, and which of them repeat a better one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.audits.slices.rows import Ints
from app.audits.slices.schema import MethodSummary, SliceMetrics

SAME = 0.5
"""Share of a candidate's rows that makes it the same slice as a better one."""
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
    """Indices into `found`: confirmed first, trailing methods after the others, then by how surely the rate exceeds."""

    def place(i: int) -> tuple[bool, bool, float]:
        m = found[i].metrics
        return not found[i].confirmed, found[i].method in last, m.rest.value - m.errors.low

    return sorted(range(len(found)), key=place)


def mark_same(found: Sequence[Measured]) -> None:
    """Note in the metrics of each, best first, the better slice of its class that holds half of its rows."""
    kept: dict[int, list[Measured]] = {}
    for mine in found:
        better = kept.setdefault(mine.class_index, [])
        held = ((other.key, np.isin(mine.rows, other.rows).mean()) for other in better)
        mine.metrics.same_as = next((key for key, share in held if share >= SAME), "")
        if not mine.metrics.same_as:
            better.append(mine)
