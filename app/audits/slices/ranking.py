"""The order of a run's slices, and which of them repeat a better one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.audits.slices.rows import Ints
from app.audits.slices.schema import MethodSummary, SliceMetrics

SAME = 0.5
"""Share of the larger one's rows that two slices have in common when they are the same."""
PART = 0.8
"""Share of a slice's rows in another one of which it is a part."""
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


def mark_same(
    found: Sequence[Measured], methods: Sequence[str], last: set[str], names: Mapping[str, str] | None = None
) -> None:
    """Note in the metrics of each the slice of its class that it repeats.

    It repeats another that holds much the same rows, that has the same name, or of which it is a part that fails no
    more surely than the whole. Of two that are the same, the one whose method comes first in `methods` is kept, so that
    a direction, which has pictures and words, stands before the metadata that it follows; within a method, the one in
    front.

    Args:
        found: candidates, the better ones in front.
        methods: in the order of preference.
        last: methods that trail.
        names: key → name, where it has one.
    """
    kept: dict[int, list[Measured]] = {}
    preferred = {method: i for i, method in enumerate(methods)}
    called = {key: name.casefold() for key, name in (names or {}).items() if name}

    def place(m: Measured) -> tuple[bool, bool, int]:
        return not m.confirmed, m.method in last, preferred.get(m.method, len(preferred))

    for mine in sorted(found, key=place):
        better = kept.setdefault(mine.class_index, [])
        mine.metrics.same_as = next((other.key for other in better if _repeats(mine, other, called)), "")
        if not mine.metrics.same_as:
            better.append(mine)


def _repeats(mine: Measured, other: Measured, called: Mapping[str, str]) -> bool:
    if mine.key in called and called[mine.key] == called.get(other.key):
        return True
    common = len(np.intersect1d(mine.rows, other.rows, assume_unique=True))
    is_part = common >= PART * max(len(mine.rows), 1)
    same = common >= SAME * max(len(mine.rows), len(other.rows), 1)
    return same or (is_part and mine.metrics.errors.low <= other.metrics.errors.value)
