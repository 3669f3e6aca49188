"""The table of kinds and severities, shaded by what is lost."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from app.audits.base import RunReader, Subject
from app.audits.corruptions.schema import CorruptionsSummary, KindRow, cell_key
from app.audits.corruptions.words import group_name, kind_name
from app.audits.pieces import Estimate

LEVELS = 10


class HeatCell(BaseModel):
    """Accuracy under one kind at one severity."""

    accuracy: Estimate
    level: int = Field(description="0: nothing is lost, 10: all of the clean accuracy.")
    href: str = Field(description="Path of its images; empty in a report.")
    told: str = Field(description="The cell in words, with interval and n.")


class HeatRow(BaseModel):
    """One kind."""

    name: str
    group: str = Field(description="Named on the first row of each group; else empty.")
    cells: list[HeatCell]
    error: float
    alexnet: float | None


class Heat(BaseModel):
    """Kinds by severities."""

    severities: list[int]
    rows: list[HeatRow]
    normalised: bool


def heat(summary: CorruptionsSummary, rows: Sequence[KindRow], clean: Estimate | None, reader: RunReader) -> Heat:
    """Return the table of `rows`, shaded against the clean accuracy of the same images."""
    before, found = "", []
    for row in rows:
        group = group_name(row.kind)
        cells = [_cell(row.kind, s, e, clean, reader) for s, e in zip(summary.severities, row.cells, strict=True)]
        found.append(
            HeatRow(
                name=kind_name(row.kind),
                group=group if group != before else "",
                cells=cells,
                error=row.error,
                alexnet=row.alexnet,
            )
        )
        before = group
    return Heat(severities=summary.severities, rows=found, normalised=any(row.alexnet is not None for row in rows))


def _cell(kind: str, severity: int, accuracy: Estimate, clean: Estimate | None, reader: RunReader) -> HeatCell:
    best = clean.value if clean and clean.value else 1.0
    lost = min(max((best - accuracy.value) / best, 0.0), 1.0)
    low, high = accuracy.low or 0.0, accuracy.high or 0.0
    return HeatCell(
        accuracy=accuracy,
        level=round(LEVELS * lost),
        href=reader.link(Subject("cell", reader.run_id, key=f"corruptions/{cell_key(kind, severity)}")),
        told=f"{kind_name(kind)}, severity {severity}: {100 * accuracy.value:.1f} % right "
        f"({100 * low:.1f}–{100 * high:.1f}, n {accuracy.n:,})",
    )
