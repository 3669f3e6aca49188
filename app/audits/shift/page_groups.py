"""Classes, slices and values that moved, as lines that lead to their images. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.shift.kept import KIND
from app.audits.shift.schema import ClassImages, GroupShift, ShiftSummary
from app.audits.stress_pages import class_page, slice_page

SHOWN = 15


class GroupLine(BaseModel):
    """A class, a slice or a value in both sets."""

    name: str
    href: str = Field(description="Path of its images in both sets; empty where there is none.")
    page: str = Field("", description="Path of the class's or slice's own page.")
    found: GroupShift
    share_moved: bool
    accuracy_moved: bool


class GroupTable(BaseModel):
    """Lines with what they are a selection of."""

    lines: list[GroupLine]
    moved: int = Field(description="How many of them moved by more than chance.")
    of: int


class PartShift(BaseModel):
    """A class or slice in both sets."""

    line: GroupLine
    images: ClassImages | None = Field(None, description="Of a class: whether its images changed.")
    second: str = Field(description="Name of the second set.")
    note: str = ""


def class_table(summary: ShiftSummary, reader: RunReader) -> GroupTable:
    """Classes, those that moved and lost most first."""
    lines = [_class_line(group, reader) for group in summary.accuracy.classes]
    lines.sort(key=lambda line: (not (line.accuracy_moved or line.share_moved), _lost(line.found)))
    return _table(lines)


def slice_table(summary: ShiftSummary, reader: RunReader) -> GroupTable:
    """Slices, those that moved and lost most first; they were put in that order when the run was made."""
    titles = _titles(reader)
    return _table([_slice_line(group, titles, reader) for group in summary.groups.slices])


def value_table(summary: ShiftSummary, reader: RunReader) -> GroupTable:
    """Values of the users' columns."""
    return _table([_line(group, group.name, reader) for group in summary.groups.values])


def class_panel(subject: Subject, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    """A class in both sets."""
    found = next((group for group in summary.accuracy.classes if group.class_index == subject.class_index), None)
    if found is None or summary.second is None:
        return None
    images = next((row for row in summary.space.classes if row.class_index == subject.class_index), None)
    line = _class_line(found, reader).model_copy(update={"page": ""})
    context = PartShift(line=line, images=images, second=summary.second.name)
    return Panel(KIND, "In the second data set", "shift/part.html", context, 66)


def slice_panel(subject: Subject, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    """A slice in both sets."""
    own = reader.findings("slices", id=subject.finding_id)
    found = next((group for group in summary.groups.slices if own and group.key == own[0].key), None)
    if found is None or summary.second is None:
        return None
    line = _slice_line(found, _titles(reader), reader).model_copy(update={"page": ""})
    note = (
        "Images are placed by the slice's direction and cut; of the audited ones only those that its search did not "
        f"see. There the rule and the slice agree on {100 * (found.agreement or 0):.0f} % of the images that either "
        "holds."
    )
    return Panel(
        KIND,
        "In the second data set",
        "shift/part.html",
        PartShift(line=line, second=summary.second.name, note=note),
        66,
    )


def _titles(reader: RunReader) -> Mapping[str, Any]:
    return {finding.key: finding for finding in reader.findings("slices", subject="slice")}


def _class_line(group: GroupShift, reader: RunReader) -> GroupLine:
    page = class_page(reader, group.class_index)
    return _line(group, group.name, reader, page)


def _slice_line(group: GroupShift, titles: Mapping[str, Any], reader: RunReader) -> GroupLine:
    known = titles.get(group.key)
    page = slice_page(reader, known.id) if known else ""
    return _line(group, known.title if known else group.name, reader, page, f"slice-{group.key}")


def _line(group: GroupShift, name: str, reader: RunReader, page: str = "", key: str = "") -> GroupLine:
    return GroupLine(
        name=name,
        href=reader.link(Subject("cell", reader.run_id, key=f"{KIND}/{key or group.key}")),
        page=page,
        found=group,
        share_moved=group.prevalence.moved,
        accuracy_moved=bool(group.accuracy and group.accuracy.moved),
    )


def _lost(group: GroupShift) -> float:
    return group.accuracy.difference.value if group.accuracy else 0.0


def _table(lines: Sequence[GroupLine]) -> GroupTable:
    moved = sum(line.share_moved or line.accuracy_moved for line in lines)
    return GroupTable(lines=list(lines[:SHOWN]), moved=moved, of=len(lines))
