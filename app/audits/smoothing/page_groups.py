"""Classes and slices under smoothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import LEAST, by_slice, of_slice
from app.audits.pieces import Estimate
from app.audits.smoothing.figures import KIND, STAGE, asked_radii, group_row, middle, read, shown_variant
from app.audits.smoothing.page_cells import Asked, asked_cells
from app.audits.smoothing.schema import GroupRow, SmoothingSummary

SLICES = 12


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
    return [
        _line(row, reader.link(Subject("class", reader.run_id, class_index=row.class_index))) for row in summary.classes
    ]


def slices(summary: SmoothingSummary, reader: RunReader) -> list[GroupLine]:
    """The confirmed slices that are certified least, of those with enough images."""
    findings = reader.findings("slices", subject="slice", evidence="confirmed")
    if not findings:
        return []
    found, known, lines = read(reader, summary.first), by_slice(reader, KIND, STAGE), []
    for finding in findings:
        members = np.array(known.get(finding.key, []), np.int64)
        if len(members) >= LEAST:
            page = reader.link(Subject("slice", reader.run_id, finding_id=finding.id))
            lines.append(_line(group_row(finding.title, found.take(members), middle(summary.radii)), page))
    return sorted(lines, key=lambda line: line.certified.value)[:SLICES]


def class_panel(subject: Subject, summary: SmoothingSummary, reader: RunReader) -> Panel | None:
    """A class under smoothing."""
    labels = reader.array(KIND, STAGE, "labels")
    return _part(summary, np.flatnonzero(labels == subject.class_index), reader)


def slice_panel(subject: Subject, summary: SmoothingSummary, reader: RunReader) -> Panel | None:
    """A slice under smoothing."""
    found = reader.findings("slices", id=subject.finding_id)
    return _part(summary, of_slice(reader, KIND, STAGE, found[0].key), reader) if found else None


def _part(summary: SmoothingSummary, members: NDArray[np.int64], reader: RunReader) -> Panel | None:
    if len(members) < LEAST:
        return None
    found = read(reader, summary.first).take(members)
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
