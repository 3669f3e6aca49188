"""Brackets of the run, of classes and of slices, and the ways to their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.certificates.figures import bracket, group_row, least_first
from app.audits.certificates.schema import Bracket, CertificatesSummary, GroupRow
from app.audits.certificates.words import BRACKET, doubt
from app.audits.drawn import by_slice, of_slice, share
from app.audits.pieces import Estimate

STAGE = "summarise"
SLICES = 12
LEAST = 5
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
        _line(row, f"-c{index}", summary.shown, reader, Subject("class", reader.run_id, class_index=index))
        for row in summary.classes
        if (index := row.class_index) is not None
    ]


def slices(summary: CertificatesSummary, reader: RunReader) -> list[BracketLine]:
    """The confirmed slices of which least is proven, of those with enough drawn images."""
    found = reader.findings("slices", subject="slice", evidence="confirmed")
    if not found:
        return []
    right, state = _arrays(reader)
    known, rows = by_slice(reader, "certificates", STAGE), []
    for finding in found:
        members = known.get(finding.key, [])
        if len(members) >= LEAST:
            rows.append((group_row(finding.title, right[members], state[members, summary.shown]), finding.id))
    rows.sort(key=lambda entry: least_first(entry[0]))
    return [
        _line(row, f"-s{id_}", summary.shown, reader, Subject("slice", reader.run_id, finding_id=id_))
        for row, id_ in rows[:SLICES]
    ]


def class_panel(subject: Subject, summary: CertificatesSummary, reader: RunReader) -> Panel | None:
    """A class between proof and attack."""
    labels = reader.array("certificates", STAGE, "labels")
    members = np.flatnonzero(labels == subject.class_index)
    return _part(summary, members, f"-c{subject.class_index}", reader)


def slice_panel(subject: Subject, summary: CertificatesSummary, reader: RunReader) -> Panel | None:
    """A slice between proof and attack."""
    found = reader.findings("slices", id=subject.finding_id)
    if not found:
        return None
    return _part(summary, of_slice(reader, "certificates", STAGE, found[0].key), f"-s{subject.finding_id}", reader)


def _part(
    summary: CertificatesSummary, members: NDArray[np.int64] | Sequence[int], of: str, reader: RunReader
) -> Panel | None:
    if len(members) < LEAST:
        return None
    right, state = _arrays(reader)
    context = PartCertificates(
        clean=share(right[members]),
        levels=[
            bracket_line(level.text, bracket(state[members, i]), of, i, reader)
            for i, level in enumerate(summary.levels)
        ],
        sentence=BRACKET,
        doubt=doubt(summary),
    )
    return Panel("certificates", "Proven and broken", "certificates/part.html", context, 61)


def _line(row: GroupRow, of: str, column: int, reader: RunReader, page: Subject) -> BracketLine:
    line = bracket_line(row.name, row.bracket, of, column, reader, reader.link(page))
    return line.model_copy(update={"clean": row.clean})


def _arrays(reader: RunReader) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    right, state = (reader.array("certificates", STAGE, name) for name in ("right", "state"))
    return right, state
