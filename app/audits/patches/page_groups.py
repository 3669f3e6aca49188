"""Classes and slices against patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import LEAST, by_slice, of_slice, share
from app.audits.patches.figures import group_row
from app.audits.patches.page_sizes import STAGE, cell_link
from app.audits.patches.schema import METHODS, GroupRow, PatchesSummary
from app.audits.patches.words import NAMES, size_text
from app.audits.pieces import Estimate

SLICES = 12


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
    return [
        _line(row, reader.link(Subject("class", reader.run_id, class_index=row.class_index))) for row in summary.classes
    ]


def slices(summary: PatchesSummary, reader: RunReader) -> list[GroupLine]:
    """The confirmed slices of which least is certified, of those with enough tested images."""
    found = reader.findings("slices", subject="slice", evidence="confirmed")
    if not found:
        return []
    lead = METHODS.index(summary.methods[0].method)
    certified = reader.array("patches", STAGE, "certified")[:, lead, summary.middle]
    right = reader.array("patches", STAGE, "clean") == reader.array("patches", STAGE, "labels")
    known, lines = by_slice(reader, "patches", STAGE), []
    for finding in found:
        members = known.get(finding.key, [])
        if len(members) >= LEAST:
            page = reader.link(Subject("slice", reader.run_id, finding_id=finding.id))
            lines.append(_line(group_row(finding.title, right[members], certified[members]), page))
    return sorted(lines, key=lambda line: line.certified.value)[:SLICES]


def class_panel(subject: Subject, summary: PatchesSummary, reader: RunReader) -> Panel | None:
    """A class against patches."""
    labels = reader.array("patches", STAGE, "labels")
    return _part(summary, np.flatnonzero(labels == subject.class_index), reader)


def slice_panel(subject: Subject, summary: PatchesSummary, reader: RunReader) -> Panel | None:
    """A slice against patches."""
    found = reader.findings("slices", id=subject.finding_id)
    if not found:
        return None
    return _part(summary, of_slice(reader, "patches", STAGE, found[0].key), reader)


def _part(summary: PatchesSummary, members: NDArray[np.int64], reader: RunReader) -> Panel | None:
    if len(members) < LEAST:
        return None
    certified = reader.array("patches", STAGE, "certified")[members]
    clean = reader.array("patches", STAGE, "clean")[members] == reader.array("patches", STAGE, "labels")[members]
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
