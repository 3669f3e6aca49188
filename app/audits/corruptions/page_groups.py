"""Classes, slices and groups under corruption."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.corruptions.figures import group_row, kind_rows
from app.audits.corruptions.page_heat import Heat, heat
from app.audits.corruptions.schema import CorruptionsSummary, GroupRow
from app.audits.drawn import by_slice, of_slice, share
from app.audits.pieces import Estimate

STAGE = "summarise"
SLICES = 12
LEAST = 5


class GroupLine(BaseModel):
    """A class, a slice or a value: clean and corrupted accuracy."""

    name: str
    href: str = Field(description="Path of its page; empty where there is none.")
    clean: Estimate
    corrupted: Estimate = Field(description="Mean over all measured kinds and severities.")


class PartCorruptions(BaseModel):
    """A class or slice under corruption."""

    clean: Estimate
    corrupted: Estimate
    heat: Heat


def classes(summary: CorruptionsSummary, reader: RunReader) -> list[GroupLine]:
    """The classes that lose most."""
    return [_line(row, _class_page(row, reader)) for row in summary.classes]


def values(summary: CorruptionsSummary) -> list[GroupLine]:
    """The values of columns that lose most."""
    return [_line(row, "") for row in summary.groups]


def slices(reader: RunReader) -> list[GroupLine]:
    """The confirmed slices that lose most, of those with enough corrupted images."""
    found = reader.findings("slices", subject="slice", evidence="confirmed")
    if not found:
        return []
    outcome, known = reader.array("corruptions", STAGE, "outcome"), by_slice(reader, "corruptions", STAGE)
    lines = []
    for finding in found:
        members = known.get(finding.key, [])
        if len(members) >= LEAST:
            page = reader.link(Subject("slice", reader.run_id, finding_id=finding.id))
            lines.append(_line(group_row(finding.title, outcome[members]), page))
    return sorted(lines, key=lambda line: line.corrupted.value - line.clean.value)[:SLICES]


def class_panel(subject: Subject, summary: CorruptionsSummary, reader: RunReader) -> Panel | None:
    """A class under corruption."""
    labels = reader.array("corruptions", STAGE, "labels")
    return _part(summary, np.flatnonzero(labels == subject.class_index), reader)


def slice_panel(subject: Subject, summary: CorruptionsSummary, reader: RunReader) -> Panel | None:
    """A slice under corruption."""
    found = reader.findings("slices", id=subject.finding_id)
    if not found:
        return None
    return _part(summary, of_slice(reader, "corruptions", STAGE, found[0].key), reader)


def _part(summary: CorruptionsSummary, members: NDArray[np.int64], reader: RunReader) -> Panel | None:
    if len(members) < LEAST:
        return None
    outcome = reader.array("corruptions", STAGE, "outcome")[members]
    asked = [(row.kind, severity) for row in summary.kinds for severity in summary.severities]
    rows, row = kind_rows(outcome, asked, normalised=False), group_row("", outcome)
    context = PartCorruptions(
        clean=row.clean, corrupted=row.corrupted, heat=heat(summary, rows, share(outcome[:, 0]), reader)
    )
    return Panel("corruptions", "Under common corruptions", "corruptions/part.html", context, 64)


def _line(row: GroupRow, href: str) -> GroupLine:
    return GroupLine(name=row.name, href=href, clean=row.clean, corrupted=row.corrupted)


def _class_page(row: GroupRow, reader: RunReader) -> str:
    return reader.link(Subject("class", reader.run_id, class_index=row.class_index))
