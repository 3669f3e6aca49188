"""Classes, slices and groups under corruption."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.corruptions.figures import group_row, kind_rows
from app.audits.corruptions.page_heat import Heat, heat
from app.audits.corruptions.schema import CorruptionsSummary, GroupRow
from app.audits.drawn import share, slices_with_members
from app.audits.pieces import Estimate
from app.audits.stress_pages import SLICES, class_page, members, slice_page

STAGE = "summarise"


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
    return [_line(row, class_page(reader, row.class_index)) for row in summary.classes]


def values(summary: CorruptionsSummary) -> list[GroupLine]:
    """The values of columns that lose most."""
    return [_line(row, "") for row in summary.groups]


def slices(reader: RunReader) -> list[GroupLine]:
    """The confirmed slices that lose most, of those with enough corrupted images."""
    found, outcome = slices_with_members(reader, "corruptions", STAGE), reader.array("corruptions", STAGE, "outcome")
    lines = [_line(group_row(one.title, outcome[places]), slice_page(reader, one.id)) for one, places in found]
    return sorted(lines, key=lambda line: line.corrupted.value - line.clean.value)[:SLICES]


def part_panel(subject: Subject, summary: CorruptionsSummary, reader: RunReader) -> Panel | None:
    """A class or slice under corruption."""
    places = members(subject, reader, "corruptions", STAGE)
    if places is None:
        return None
    outcome = reader.array("corruptions", STAGE, "outcome")[places]
    asked = [(row.kind, severity) for row in summary.kinds for severity in summary.severities]
    rows, row = kind_rows(outcome, asked, normalised=False), group_row("", outcome)
    context = PartCorruptions(
        clean=row.clean, corrupted=row.corrupted, heat=heat(summary, rows, share(outcome[:, 0]), reader)
    )
    return Panel("corruptions", "Under common corruptions", "corruptions/part.html", context, 64)


def _line(row: GroupRow, href: str) -> GroupLine:
    return GroupLine(name=row.name, href=href, clean=row.clean, corrupted=row.corrupted)
