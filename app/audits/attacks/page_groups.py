"""Classes and slices under attack."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.attacks.figures import group_row
from app.audits.attacks.schema import AttacksSummary, GroupRow
from app.audits.attacks.words import NORMS
from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import share, slices_with_members
from app.audits.pieces import Estimate
from app.audits.stress_pages import SLICES, class_page, members, slice_page

STAGE = "summarise"


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
    return [_line(row, class_page(reader, row.class_index)) for row in summary.classes]


def slices(reader: RunReader) -> list[GroupLine]:
    """The confirmed slices that withstand least, of those with enough attacked images."""
    found, outcome = slices_with_members(reader, "attacks", STAGE), reader.array("attacks", STAGE, "outcome")
    lines = [_line(group_row(one.title, outcome[places]), slice_page(reader, one.id)) for one, places in found]
    return sorted(lines, key=lambda line: line.robust.value)[:SLICES]


def part_panel(subject: Subject, summary: AttacksSummary, reader: RunReader) -> Panel | None:
    """A class or slice under attack."""
    places = members(subject, reader, "attacks", STAGE)
    if places is None:
        return None
    outcome = reader.array("attacks", STAGE, "outcome")[places]
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
