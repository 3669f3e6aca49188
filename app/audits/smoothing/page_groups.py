"""Classes and slices under smoothing."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import slices_with_members
from app.audits.pieces import Estimate
from app.audits.smoothing.figures import KIND, STAGE, asked_radii, group_row, middle, read, shown_variant
from app.audits.smoothing.page_cells import Asked, asked_cells
from app.audits.smoothing.schema import GroupRow, SmoothingSummary
from app.audits.stress_pages import SLICES, class_page, members, slice_page


class GroupLine(BaseModel):
    """A class or a slice."""

    name: str
    href: str = Field(description="Path of its page; empty where there is none.")
    base: Estimate
    smoothed: Estimate
    certified: Estimate


class PartSmoothing(BaseModel):
    """A class or slice under the noise that certifies most."""

    noise: str
    base: Estimate
    smoothed: Estimate
    asked: list[Asked]


def classes(summary: SmoothingSummary, reader: RunReader) -> list[GroupLine]:
    """The classes that are certified least."""
    return [_line(row, class_page(reader, row.class_index)) for row in summary.classes]


def slices(summary: SmoothingSummary, reader: RunReader) -> list[GroupLine]:
    """The confirmed slices that are certified least, of those with enough images."""
    judged, column = read(reader, summary.first), middle(summary.radii)
    lines = [
        _line(group_row(found.title, judged.take(places), column), slice_page(reader, found.id))
        for found, places in slices_with_members(reader, KIND, STAGE)
    ]
    return sorted(lines, key=lambda line: line.certified.value)[:SLICES]


def part_panel(subject: Subject, summary: SmoothingSummary, reader: RunReader) -> Panel | None:
    """A class or slice under smoothing."""
    places = members(subject, reader, KIND, STAGE)
    if places is None:
        return None
    found = read(reader, summary.first).take(places)
    row = group_row("", found, 0)
    context = PartSmoothing(
        noise=shown_variant(summary),
        base=row.base,
        smoothed=row.smoothed,
        asked=asked_cells(asked_radii(summary.radii, found), summary.first, reader),
    )
    return Panel(KIND, "Under randomised smoothing", "smoothing/part.html", context, 66)


def _line(row: GroupRow, href: str) -> GroupLine:
    return GroupLine(name=row.name, href=href, base=row.base, smoothed=row.smoothed, certified=row.certified)
