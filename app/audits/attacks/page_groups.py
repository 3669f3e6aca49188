"""Classes and slices under attack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.attacks.figures import group_row
from app.audits.attacks.schema import AttacksSummary, GroupRow
from app.audits.attacks.words import NORMS
from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import by_slice, of_slice, share
from app.audits.pieces import Estimate

STAGE = "summarise"
SLICES = 12
LEAST = 5


class GroupLine(BaseModel):
    """A class or a slice."""

    name: str
    href: str = Field(description="Path of its page; empty where there is none.")
    clean: Estimate
    robust: Estimate = Field(description="Share that withstands all attacks at the largest ε.")


class RadiusLine(BaseModel):
    """One ε."""

    text: str
    robust: Estimate


class PartAttacks(BaseModel):
    """A class or slice under attack."""

    norm: str
    clean: Estimate
    levels: list[RadiusLine]


def classes(summary: AttacksSummary, reader: RunReader) -> list[GroupLine]:
    """The classes that withstand least."""
    return [
        _line(row, reader.link(Subject("class", reader.run_id, class_index=row.class_index))) for row in summary.classes
    ]


def slices(reader: RunReader) -> list[GroupLine]:
    """The confirmed slices that withstand least, of those with enough attacked images."""
    found = reader.findings("slices", subject="slice", evidence="confirmed")
    if not found:
        return []
    outcome, known, lines = reader.array("attacks", STAGE, "outcome"), by_slice(reader, "attacks", STAGE), []
    for finding in found:
        members = known.get(finding.key, [])
        if len(members) >= LEAST:
            page = reader.link(Subject("slice", reader.run_id, finding_id=finding.id))
            lines.append(_line(group_row(finding.title, outcome[members]), page))
    return sorted(lines, key=lambda line: line.robust.value)[:SLICES]


def class_panel(subject: Subject, summary: AttacksSummary, reader: RunReader) -> Panel | None:
    """A class under attack."""
    labels = reader.array("attacks", STAGE, "labels")
    return _part(summary, np.flatnonzero(labels == subject.class_index), reader)


def slice_panel(subject: Subject, summary: AttacksSummary, reader: RunReader) -> Panel | None:
    """A slice under attack."""
    found = reader.findings("slices", id=subject.finding_id)
    if not found:
        return None
    return _part(summary, of_slice(reader, "attacks", STAGE, found[0].key), reader)


def _part(summary: AttacksSummary, members: NDArray[np.int64], reader: RunReader) -> Panel | None:
    if len(members) < LEAST:
        return None
    outcome = reader.array("attacks", STAGE, "outcome")[members]
    context = PartAttacks(
        norm=NORMS[summary.norm],
        clean=share(outcome[:, 0]),
        levels=[
            RadiusLine(text=level.text, robust=share(outcome[:, column]))
            for column, level in enumerate(summary.levels, 1)
        ],
    )
    return Panel("attacks", "Under attack", "attacks/part.html", context, 62)


def _line(row: GroupRow, href: str) -> GroupLine:
    return GroupLine(name=row.name, href=href, clean=row.clean, robust=row.robust)
