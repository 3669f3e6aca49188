"""The images of one part of a bracket: proven, undecided or broken, of the run, a class or a slice."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.certificates.page_groups import STAGE, STATES, cell_link
from app.audits.certificates.schema import BROKEN, OPEN, PROVEN, STEPS, WRONG, CertificatesSummary
from app.audits.drawn import of_slice, share
from app.audits.pieces import Estimate, Link, Thumb

MOST = 60
_KEY = re.compile(r"certificates/(\d)-(proven|undecided|broken)(?:-([cs])(\d{1,18}))?")
_CODES = {"proven": PROVEN, "undecided": OPEN, "broken": BROKEN}


class CellCertificates(BaseModel):
    """One part of a bracket."""

    of: Link = Field(description="Class, slice or run that the images belong to.")
    share: Estimate
    by: list[tuple[str, int]] = Field(description="What decided them, and how many.")
    others: list[Link] = Field(description="The bracket's other parts, and this part at other ε.")
    thumbs: list[Thumb] = Field(description="The images, those with the smallest clean margin first.")
    left: int = Field(description="Images that are not shown.")


def cell_panel(subject: Subject, summary: CertificatesSummary, reader: RunReader) -> Panel | None:
    """Return the panel of a part; none where there is no such part."""
    match = _KEY.fullmatch(subject.key)
    if not match or int(match[1]) >= len(summary.levels):
        return None
    column, state, suffix = int(match[1]), match[2], f"-{match[3]}{match[4]}" if match[3] else ""
    found = _group(match[3] or "", int(match[4] or 0), reader)
    if found is None:
        return None
    of, members = found
    codes = reader.array("certificates", STAGE, "state")[members, column]
    places = members[codes == _CODES[state]]
    margins = reader.array("certificates", STAGE, "margin")[places, 0]
    order = places[np.argsort(margins, kind="stable")]
    positions = reader.array("certificates", STAGE, "positions")[order[:MOST]].tolist()
    context = CellCertificates(
        of=of,
        share=share(codes == _CODES[state]),
        by=_by(reader.array("certificates", STAGE, "by")[places, column]),
        others=_others(column, state, suffix, summary, reader),
        thumbs=[thumb for thumb in reader.thumbs(positions, named=True) if thumb is not None],
        left=max(len(places) - MOST, 0),
    )
    title = f"{state.capitalize()} at L∞ ε = {summary.levels[column].text}"
    return Panel("certificates", title, "certificates/cell.html", context)


def _group(kind: str, number: int, reader: RunReader) -> tuple[Link, NDArray[np.int64]] | None:
    """The name of a group and its places among the drawn images; none where there is no such group."""
    labels = reader.array("certificates", STAGE, "labels")
    if not kind:
        page = reader.link(Subject("robustness", reader.run_id))
        return Link(text="All images", href=page), np.arange(len(labels))
    if kind == "c":
        if number >= len(reader.classes):
            return None
        page = reader.link(Subject("class", reader.run_id, class_index=number))
        return Link(text=reader.classes[number], href=page), np.flatnonzero(labels == number)
    found = reader.findings("slices", id=number)
    if not found:
        return None
    page = reader.link(Subject("slice", reader.run_id, finding_id=number))
    return Link(text=found[0].title, href=page), of_slice(reader, "certificates", STAGE, found[0].key)


def _by(codes: NDArray[np.int8]) -> list[tuple[str, int]]:
    """How many images each step decided; what is wrong as it is was decided by none."""
    rows = [(name, int((codes == place).sum())) for place, name in enumerate(STEPS)]
    return [row for row in (*rows, ("wrong as they are", int((codes == WRONG).sum()))) if row[1]]


def _others(column: int, state: str, suffix: str, summary: CertificatesSummary, reader: RunReader) -> list[Link]:
    here = [(f"{other} at the same ε", f"{column}-{other}{suffix}") for other in STATES if other != state]
    there = [
        (f"{state} at ε = {level.text}", f"{i}-{state}{suffix}")
        for i, level in enumerate(summary.levels)
        if i != column
    ]
    return [Link(text=text, href=cell_link(key, reader)) for text, key in (*here, *there)]
