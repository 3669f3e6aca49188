"""One method at one size: its certified images, and those that are right and not certified."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import LEAST
from app.audits.patches.figures import group_row
from app.audits.patches.page_groups import GroupLine
from app.audits.patches.page_sizes import STAGE, arrays_of, cell_link, cell_of, images_at, thumbs
from app.audits.patches.schema import METHODS, PatchesSummary
from app.audits.patches.words import NAMES, size_text
from app.audits.pieces import Estimate, Link, Thumb

MORE = 60


class CellPatches(BaseModel):
    """One method at one size."""

    clean: Estimate
    defended: Estimate
    certified: Estimate
    others: list[Link] = Field(description="The method at other sizes.")
    held: list[Thumb]
    of_held: int
    open: list[Thumb]
    of_open: int
    classes: list[GroupLine]


def cell_panel(subject: Subject, summary: PatchesSummary, reader: RunReader) -> Panel | None:
    """Return the panel of a cell; none where the run did not measure it."""
    cells = {
        f"patches/{cell_of(row.method, size.px)}": (row, column)
        for row in summary.methods
        for column, size in enumerate(summary.sizes)
    }
    if subject.key not in cells or summary.clean is None:
        return None
    row, column = cells[subject.key]
    arrays = arrays_of(reader)
    held, rest = images_at(arrays, row.method, column)
    context = CellPatches(
        clean=summary.clean,
        defended=row.defended[column],
        certified=row.certified[column],
        others=[
            Link(text=size_text(size), href=cell_link(row.method, size.px, reader))
            for other, size in enumerate(summary.sizes)
            if other != column
        ],
        held=thumbs(reader, held[:MORE]),
        of_held=len(held),
        open=thumbs(reader, rest[:MORE]),
        of_open=len(rest),
        classes=_classes(METHODS.index(row.method), column, reader),
    )
    title = f"{NAMES[row.method]}, patch of {size_text(summary.sizes[column])}"
    return Panel("patches", title, "patches/cell.html", context)


def _classes(method: int, column: int, reader: RunReader) -> list[GroupLine]:
    certified, clean, labels = (reader.array("patches", STAGE, name) for name in ("certified", "clean", "labels"))
    found = []
    for index in np.unique(labels).tolist():
        mine = labels == index
        if mine.sum() >= LEAST:
            row = group_row(reader.classes[index], clean[mine] == index, certified[mine, method, column])
            href = reader.link(Subject("class", reader.run_id, class_index=index))
            found.append(GroupLine(name=row.name, href=href, clean=row.clean, certified=row.certified))
    return sorted(found, key=lambda line: line.certified.value)[:12]
