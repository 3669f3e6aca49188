"""Pages of a class, a slice or a value in both sets, of the most typical images, and of one image of the second set."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.pieces import Thumb
from app.audits.shift.kept import KIND, SecondSet, first_thumbs
from app.audits.shift.schema import GroupShift, ShiftSummary
from app.errors import NotFound

SHOWN = 24
GRID = 36


class CellShift(BaseModel):
    """Images of both sets that belong together."""

    found: GroupShift | None
    first_title: str
    first: list[Thumb]
    second_title: str
    second: list[Thumb]


class SecondImage(BaseModel):
    """One image of the second set."""

    thumb: Thumb
    original: str = Field(description="Path of its picture as it came.")
    label: str
    prediction: str
    confidence: float
    score: float | None = Field(description="How typical of the second set it is, held-out log-odds.")


def cell_panel(subject: Subject, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    """Return the panel of a key such as `class-3`, `slice-…`, `value-2`, `typical` or `image-17`."""
    kind, _, rest = subject.key.partition("/")
    name, _, key = rest.partition("-")
    made = _CELLS.get(name) if kind == KIND else None
    return made(key, rest, summary, reader) if made else None


def typical(summary: ShiftSummary, reader: RunReader, most: int) -> tuple[list[Thumb], list[Thumb]]:
    """Images of the audited set that look most like the second one, and those most typical of the second set."""
    if summary.space.unavailable or not summary.space.tests:
        return [], []
    try:
        own, second = (np.asarray(reader.array(KIND, "space", name)) for name in ("first", "second"))
        rows = SecondSet(reader, summary)
    except NotFound:  # a report holds no arrays of large sets
        return [], []
    ends = [np.argsort(np.where(np.isnan(of), -np.inf, of), kind="stable")[::-1][:most] for of in (own, second)]
    return first_thumbs(reader, ends[0].tolist()), rows.thumbs(ends[1].tolist())


def _typical(_key: str, _whole: str, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    first, second = typical(summary, reader, GRID)
    if not second:
        return None
    context = CellShift(
        found=None,
        first_title="Audited images that look most like the second set",
        first=first,
        second_title="Images most typical of the second set",
        second=second,
    )
    return Panel(KIND, "What is typical of the second set", "shift/cell.html", context)


def _of_class(key: str, whole: str, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    found = next((group for group in summary.accuracy.classes if group.key == whole), None)
    if found is None or not key.isdigit():
        return None
    second = SecondSet(reader, summary)
    rows = reader.scores("label = ?", [int(key)], order="p_true", limit=SHOWN)
    positions = [row["row"] - reader.split_start for row in rows]
    return _cell(found, found.name, positions, second.worst(second.labels == int(key), SHOWN), second, reader)


def _of_slice(key: str, _whole: str, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    found = next((group for group in summary.groups.slices if group.key == key), None)
    if found is None:
        return None
    own = reader.findings("slices", subject="slice", key=key)
    return _grouped(found, own[0].title if own else found.name, summary, reader)


def _of_value(_key: str, whole: str, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    found = next((group for group in summary.groups.values if group.key == whole), None)
    return _grouped(found, found.name, summary, reader) if found else None


def _grouped(found: GroupShift, title: str, summary: ShiftSummary, reader: RunReader) -> Panel:
    table = reader.table(KIND, "groups", "members")
    place = table["key"].to_pylist().index(found.key)
    first, second = (table[name][place].as_py() for name in ("first", "second"))
    return _cell(found, title, first, second, SecondSet(reader, summary), reader)


def _cell(
    found: GroupShift, title: str, first: list[int], second: list[int], rows: SecondSet, reader: RunReader
) -> Panel:
    context = CellShift(
        found=found,
        first_title="Audited images, mistakes first",
        first=first_thumbs(reader, first[:SHOWN]),
        second_title="Images of the second set, mistakes first",
        second=rows.thumbs(second[:SHOWN]),
    )
    return Panel(KIND, title, "shift/cell.html", context)


def _of_image(key: str, _whole: str, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    rows = SecondSet(reader, summary)
    if not key.isdigit() or int(key) >= len(rows.rows):
        return None
    place = int(key)
    score = None if summary.space.unavailable else float(reader.array(KIND, "space", "second")[place])
    context = SecondImage(
        thumb=rows.thumb(place).model_copy(update={"href": ""}),
        original=rows.picture(place).replace("/thumbs/", "/images/"),
        label=rows.name(int(rows.labels[place])),
        prediction=rows.name(int(rows.predictions[place])),
        confidence=float(rows.confidence[place]),
        score=None if score is None or np.isnan(score) else score,
    )
    return Panel(KIND, "An image of the second set", "shift/second_image.html", context)


_CELLS: Mapping[str, Callable[[str, str, ShiftSummary, RunReader], Panel | None]] = {
    "typical": _typical,
    "class": _of_class,
    "slice": _of_slice,
    "value": _of_value,
    "image": _of_image,
}
