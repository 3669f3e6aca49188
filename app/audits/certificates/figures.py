"""Brackets of groups of images. Imports no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.audits.certificates.schema import BROKEN, OPEN, PROVEN, Bracket, GroupRow
from app.audits.drawn import share


def bracket(state: NDArray[np.int8]) -> Bracket:
    """The bracket of images [n] at one ε."""
    return Bracket(
        proven=share(state == PROVEN), unbroken=share(state != BROKEN), undecided=int(np.count_nonzero(state == OPEN))
    )


def group_row(name: str, right: NDArray[np.bool_], state: NDArray[np.int8], class_index: int | None = None) -> GroupRow:
    """Clean accuracy and bracket of a group's images [n] at one ε."""
    return GroupRow(name=name, class_index=class_index, clean=share(right), bracket=bracket(state))


def least_first(row: GroupRow) -> tuple[float, float, float]:
    """Order in which groups are listed: the least proven, the least unbroken, the least right."""
    return row.bracket.proven.value, row.bracket.unbroken.value, row.clean.value
