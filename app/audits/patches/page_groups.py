"""Classes and slices against patches."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import share, slices_with_members
from app.audits.patches.figures import group_row
from app.audits.patches.page_sizes import STAGE, cell_link
from app.audits.patches.schema import METHODS, GroupRow, PatchesSummary
from app.audits.patches.words import NAMES, size_text
from app.audits.pieces import Estimate
from app.audits.stress_pages import SLICES, class_page, members, slice_page


class GroupLine(BaseModel):
    """A class or a slice."""

    name: str
    href: str = Field(description="Path of its page; empty where there is none.")
    clean: Estimate
    certified: Estimate


class MethodLine(BaseModel):
    """One method at every size."""

    name: str
    cells: list[Estimate]
    hrefs: list[str] = Field(description="Path of each cell's images; empty where there is none.")


class PartPatches(BaseModel):
    """A class or slice against patches."""

    clean: Estimate
    sizes: list[str]
    methods: list[MethodLine]


def classes(summary: PatchesSummary, reader: RunReader) -> list[GroupLine]:
    """The classes of which least is certified."""
    return [_line(row, class_page(reader, row.class_index)) for row in summary.classes]


def slices(summary: PatchesSummary, reader: RunReader) -> list[GroupLine]:
    """The confirmed slices of which least is certified, of those with enough tested images."""
    lead = METHODS.index(summary.methods[0].method)
    certified = reader.array("patches", STAGE, "certified")[:, lead, summary.middle]
    right = reader.array("patches", STAGE, "clean") == reader.array("patches", STAGE, "labels")
    lines = [
        _line(group_row(found.title, right[places], certified[places]), slice_page(reader, found.id))
        for found, places in slices_with_members(reader, "patches", STAGE)
    ]
    return sorted(lines, key=lambda line: line.certified.value)[:SLICES]


def part_panel(subject: Subject, summary: PatchesSummary, reader: RunReader) -> Panel | None:
    """A class or slice against patches."""
    places = members(subject, reader, "patches", STAGE)
    if places is None:
        return None
    certified = reader.array("patches", STAGE, "certified")[places]
    clean = reader.array("patches", STAGE, "clean")[places] == reader.array("patches", STAGE, "labels")[places]
    context = PartPatches(
        clean=share(clean),
        sizes=[size_text(size) for size in summary.sizes],
        methods=[
            MethodLine(
                name=NAMES[row.method],
                cells=[share(column) for column in certified[:, METHODS.index(row.method)].T],
                hrefs=[cell_link(row.method, size.px, reader) for size in summary.sizes],
            )
            for row in summary.methods
        ],
    )
    return Panel("patches", "Certified against patches", "patches/part.html", context, 66)


def _line(row: GroupRow, href: str) -> GroupLine:
    return GroupLine(name=row.name, href=href, clean=row.clean, certified=row.certified)
