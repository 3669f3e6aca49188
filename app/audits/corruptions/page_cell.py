"""One kind at one severity: the images that were right when clean and are wrong now."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.corruptions.page_gallery import STAGE, Shown, picture_numbers
from app.audits.corruptions.schema import CorruptionsSummary, cell_key
from app.audits.corruptions.words import kind_name
from app.audits.corruptions.worst import worst_places
from app.audits.drawn import share
from app.audits.pieces import Estimate, Link, Thumb

MORE = 60


class Pair(BaseModel):
    """An image as the network got it, clean and corrupted."""

    href: str
    clean: Shown
    corrupted: Shown


class ClassFall(BaseModel):
    """A class in this cell."""

    name: str
    href: str
    clean: Estimate
    now: Estimate


class CellCorruptions(BaseModel):
    """One kind at one severity."""

    name: str
    severity: int
    clean: Estimate
    now: Estimate
    fell: int = Field(description="Images that were right when clean and are wrong now.")
    mended: int = Field(description="Images that were wrong when clean and are right now.")
    others: list[Link] = Field(description="The kind's other severities.")
    pairs: list[Pair]
    more: list[Thumb] = Field(description="Further images that fell, uncorrupted, the surest mistakes first.")
    classes: list[ClassFall]


def cell_panel(subject: Subject, summary: CorruptionsSummary, reader: RunReader) -> Panel | None:
    """Return the panel of a cell; none where the run did not measure it."""
    asked = [(row.kind, severity) for row in summary.kinds for severity in summary.severities]
    keys = [f"corruptions/{cell_key(*cell)}" for cell in asked]
    if subject.key not in keys:
        return None
    column = keys.index(subject.key) + 1
    kind, severity = asked[column - 1]
    outcome = reader.array("corruptions", STAGE, "outcome")
    worst = worst_places(outcome, reader.array("corruptions", STAGE, "margin"), column)
    numbers = picture_numbers(reader)
    positions = reader.array("corruptions", STAGE, "positions")
    drawn = [place for place in worst if (int(positions[place]), column) in numbers]
    rest = [int(positions[place]) for place in worst if (int(positions[place]), column) not in numbers]
    context = CellCorruptions(
        name=kind_name(kind),
        severity=severity,
        clean=share(outcome[:, 0]),
        now=share(outcome[:, column]),
        fell=len(worst),
        mended=int(((outcome[:, 0] == 0) & (outcome[:, column] == 1)).sum()),
        others=[_other(kind, s, reader) for s in summary.severities if s != severity],
        pairs=[_pair(int(place), column, severity, numbers, reader) for place in drawn],
        more=[thumb for thumb in reader.thumbs(rest[:MORE]) if thumb is not None],
        classes=_classes(column, reader),
    )
    return Panel("corruptions", f"{kind_name(kind)}, severity {severity}", "corruptions/cell.html", context)


def _other(kind: str, severity: int, reader: RunReader) -> Link:
    key = f"corruptions/{cell_key(kind, severity)}"
    return Link(text=f"severity {severity}", href=reader.link(Subject("cell", reader.run_id, key=key)))


def _pair(place: int, column: int, severity: int, numbers: dict[tuple[int, int], int], reader: RunReader) -> Pair:
    position = int(reader.array("corruptions", STAGE, "positions")[place])
    label = reader.classes[int(reader.array("corruptions", STAGE, "labels")[place])]
    taken = reader.classes[int(reader.array("corruptions", STAGE, "taken")[place, column])]
    before, after = (reader.kept_picture("corruptions", STAGE, numbers[position, c]) for c in (0, column))
    mistake = f"taken for {taken}"
    return Pair(
        href=reader.link(Subject("image", reader.run_id, row=position + reader.split_start)),
        clean=Shown(src=before, alt=f"{label}, clean: recognised", text=label, wrong=False),
        corrupted=Shown(src=after, alt=f"{label}, severity {severity}: {mistake}", text=mistake, wrong=True),
    )


def _classes(column: int, reader: RunReader) -> list[ClassFall]:
    """The classes of which most images fell."""
    outcome, labels = (reader.array("corruptions", STAGE, name) for name in ("outcome", "labels"))
    found = []
    for index in np.unique(labels).tolist():
        members = outcome[labels == index]
        page = reader.link(Subject("class", reader.run_id, class_index=index))
        row = ClassFall(
            name=reader.classes[index], href=page, clean=share(members[:, 0]), now=share(members[:, column])
        )
        if row.now.value < row.clean.value:
            found.append(row)
    return sorted(found, key=lambda row: row.now.value - row.clean.value)[:8]
