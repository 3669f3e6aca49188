"""One image under every corruption that was tried on it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.corruptions.schema import CorruptionsSummary, cell_key
from app.audits.corruptions.words import kind_name
from app.audits.pieces import Estimate

STAGE = "summarise"


class Tried(BaseModel):
    """One kind at one severity."""

    right: bool
    told: str = Field(description="The outcome in words.")
    href: str = Field(description="Path of the cell's page.")


class TriedKind(BaseModel):
    """One kind at every severity."""

    name: str
    cells: list[Tried]


class ImageCorruptions(BaseModel):
    """An image under corruption."""

    clean: bool = Field(description="Whether the model is right on the clean image.")
    share: Estimate = Field(description="Share of the cells in which it is right; n counts cells.")
    severities: list[int]
    rows: list[TriedKind]


def image_panel(subject: Subject, summary: CorruptionsSummary, reader: RunReader) -> Panel | None:
    """Return what became of an image; none where it was not drawn."""
    position = (subject.row or 0) - reader.split_start
    places = np.flatnonzero(reader.array("corruptions", STAGE, "positions") == position)
    if not len(places):
        return None
    outcome, taken = (reader.array("corruptions", STAGE, name)[int(places[0])] for name in ("outcome", "taken"))
    rows, column = [], 1
    for row in summary.kinds:
        cells = []
        for severity in summary.severities:
            cells.append(_tried(row.kind, severity, bool(outcome[column]), int(taken[column]), reader))
            column += 1
        rows.append(TriedKind(name=kind_name(row.kind), cells=cells))
    context = ImageCorruptions(
        clean=bool(outcome[0]),
        share=Estimate(value=float(outcome[1:].mean()), n=len(outcome) - 1),
        severities=summary.severities,
        rows=rows,
    )
    return Panel("corruptions", "Under common corruptions", "corruptions/image.html", context, 64)


def _tried(kind: str, severity: int, right: bool, taken: int, reader: RunReader) -> Tried:
    word = "right" if right else f"taken for {reader.classes[taken]}"
    href = reader.link(Subject("cell", reader.run_id, key=f"corruptions/{cell_key(kind, severity)}"))
    return Tried(right=right, told=f"{kind_name(kind)}, severity {severity}: {word}", href=href)
