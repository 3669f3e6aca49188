"""Brackets of the run, of classes and of slices, and the ways to their images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.certificates.figures import bracket, group_row, least_first
from app.audits.certificates.schema import Bracket, CertificatesSummary, GroupRow
from app.audits.certificates.words import BRACKET, doubt
from app.audits.drawn import share, slices_with_members
from app.audits.pieces import Estimate
from app.audits.stress_pages import SLICES, class_page, members, slice_page

STAGE = "summarise"
STATES = ("proven", "undecided", "broken")
"""Parts of a bracket, in the order in which they are drawn."""


class Part(BaseModel):
    """One part of a bracket."""

    state: str
    count: int
    href: str = Field(description="Path of the page of these images; empty where there are none, and in a report.")


class BracketLine(BaseModel):
    """A bracket with the ways to its images."""

    text: str = Field(description="ε, or the name of a class or slice.")
    href: str = Field("", description="Path of a class's or slice's page.")
    clean: Estimate | None = None
    bracket: Bracket
    parts: list[Part]


class PartCertificates(BaseModel):
    """A class or slice between proof and attack."""

    clean: Estimate
    levels: list[BracketLine]
    sentence: str
    doubt: str


def bracket_line(text: str, found: Bracket, of: str, column: int, reader: RunReader, href: str = "") -> BracketLine:
    """A bracket at the ε of a column; `of` is the suffix of the keys of its cells."""
    n, proven = found.proven.n, round(found.proven.value * found.proven.n)
    counts = (proven, found.undecided, n - proven - found.undecided)
    parts = [
        Part(state=state, count=count, href=cell_link(f"{column}-{state}{of}", reader) if count else "")
        for state, count in zip(STATES, counts, strict=True)
    ]
    return BracketLine(text=text, href=href, bracket=found, parts=parts)


def cell_link(key: str, reader: RunReader) -> str:
    """Path of the page of one part of a bracket."""
    return reader.link(Subject("cell", reader.run_id, key=f"certificates/{key}"))


def levels(summary: CertificatesSummary, reader: RunReader) -> list[BracketLine]:
    """The whole run's bracket at each ε."""
    return [bracket_line(level.text, level.bracket, "", i, reader) for i, level in enumerate(summary.levels)]


def classes(summary: CertificatesSummary, reader: RunReader) -> list[BracketLine]:
    """The classes of which least is proven."""
    return [
        _line(row, f"-c{index}", summary.shown, reader, class_page(reader, index))
        for row in summary.classes
        if (index := row.class_index) is not None
    ]


def slices(summary: CertificatesSummary, reader: RunReader) -> list[BracketLine]:
    """The confirmed slices of which least is proven, of those with enough drawn images."""
    right, state = _arrays(reader)
    rows = [
        (group_row(found.title, right[places], state[places, summary.shown]), found.id)
        for found, places in slices_with_members(reader, "certificates", STAGE)
    ]
    rows.sort(key=lambda entry: least_first(entry[0]))
    return [_line(row, f"-s{id_}", summary.shown, reader, slice_page(reader, id_)) for row, id_ in rows[:SLICES]]


def part_panel(subject: Subject, summary: CertificatesSummary, reader: RunReader) -> Panel | None:
    """A class or slice between proof and attack."""
    places = members(subject, reader, "certificates", STAGE)
    if places is None:
        return None
    of = f"-c{subject.class_index}" if subject.type == "class" else f"-s{subject.finding_id}"
    right, state = _arrays(reader)
    context = PartCertificates(
        clean=share(right[places]),
        levels=[
            bracket_line(level.text, bracket(state[places, i]), of, i, reader) for i, level in enumerate(summary.levels)
        ],
        sentence=BRACKET,
        doubt=doubt(summary),
    )
    return Panel("certificates", "Proven and broken", "certificates/part.html", context, 61)


def _line(row: GroupRow, of: str, column: int, reader: RunReader, href: str) -> BracketLine:
    line = bracket_line(row.name, row.bracket, of, column, reader, href)
    return line.model_copy(update={"clean": row.clean})


def _arrays(reader: RunReader) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    right, state = (reader.array("certificates", STAGE, name) for name in ("right", "state"))
    return right, state
