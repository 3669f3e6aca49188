"""Families of groups whose frequency and accuracy are compared, with one correction for all that a family asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.audits.shift.schema import Changed, GroupShift
from app.audits.shift.sets import Ints, difference, share
from app.numerics.shift.moved import differences

Counts = tuple[int, int]


class Group(NamedTuple):
    """A group in both sets, as counts (k, n) in the first and in the second."""

    key: str
    name: str
    class_index: int | None
    members: tuple[Counts, Counts]
    """Rows of the group, and of all rows that could have belonged to it."""
    right: tuple[Counts, Counts] | None
    """Rows of the group that are right, of those with a label; none where the second set has no labels."""
    agreement: float | None = None


def compared(groups: Sequence[Group]) -> list[GroupShift]:
    """Compare every group's share and accuracy; q-values are over both questions of all groups."""
    asked = [group.members for group in groups] + [group.right for group in groups if group.right is not None]
    if not asked:
        return []
    table: Ints = np.array(asked, np.int64).reshape(-1, 4)
    found = differences(*table.T)
    changes = []
    for place, (a, n, b, m) in enumerate(table.tolist()):
        gap, p, q = difference(found, place, m)
        changes.append(Changed(first=share(a, n), second=share(b, m), difference=gap, p_value=p, q_value=q))
    later = iter(changes[len(groups) :])
    return [
        GroupShift(
            key=group.key,
            name=group.name,
            class_index=group.class_index,
            prevalence=prevalence,
            accuracy=None if group.right is None else next(later),
            agreement=group.agreement,
        )
        for group, prevalence in zip(groups, changes[: len(groups)], strict=True)
    ]


def most_moved(groups: list[GroupShift], most: int) -> list[GroupShift]:
    """The groups that moved first, by how much accuracy they lost, then by how much their share changed."""

    def order(group: GroupShift) -> tuple[bool, float, float]:
        lost = group.accuracy.difference.value if group.accuracy and group.accuracy.p_value is not None else 0.0
        moved = group.prevalence.moved or bool(group.accuracy and group.accuracy.moved)
        return not moved, lost, -abs(group.prevalence.difference.value)

    return sorted(groups, key=order)[:most]
