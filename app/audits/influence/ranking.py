"""Which method a page shows first."""

from __future__ import annotations

from collections.abc import Sequence

from app.audits.influence.schema import BASELINE, METHODS, MethodSummary


def ranked(methods: Sequence[MethodSummary]) -> list[MethodSummary]:
    """Order methods: by their measured score where there is one, else as listed; none before a baseline that beats it.

    Methods that could not be computed come last.
    """
    order = list(METHODS)
    baseline = next((m.lds for m in methods if m.method == BASELINE), None)

    def place(m: MethodSummary) -> tuple[bool, bool, float, int]:
        beaten = baseline is not None and m.lds is not None and m.method != BASELINE and m.lds <= baseline
        return bool(m.reason), beaten, -(m.lds if m.lds is not None else 0.0), order.index(m.method)

    return sorted(methods, key=place)
