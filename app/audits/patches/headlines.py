"""What patch certificates come to, for the report card and the table of classes and slices. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunReader
from app.audits.drawn import group_column
from app.audits.patches.budgets import EFFORTS
from app.audits.patches.schema import METHODS, SCORE, PatchesSummary
from app.audits.patches.words import NAMES, size_text
from app.audits.pieces import GroupColumn, Headline
from app.audits.stress_pages import measured, not_drawn, summary_of, unmeasured

TITLE = "Patch certificates"


def headlines(reader: RunReader) -> list[Headline]:
    """What the leading method certifies at the middle size: it is not chosen by what it found."""
    summary = summary_of(reader, "patches", PatchesSummary)
    if summary is None or summary.unavailable:
        return unmeasured(TITLE, summary)
    lead, size = summary.methods[0], summary.sizes[summary.middle]
    text = f"are proven right whatever a patch of {size_text(size)} shows, with the defence “{NAMES[lead.method]}”"
    estimate = lead.certified[summary.middle]
    doubt = next(iter(summary.doubts), "")
    return [Headline(title=TITLE, text=text, estimate=estimate, leaves_out=_left_out(summary), doubt=doubt)]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Classes and slices at the same size, by the same method."""
    summary = measured(reader, "patches", PatchesSummary)
    if summary is None:
        return []
    lead, size = METHODS.index(summary.methods[0].method), summary.sizes[summary.middle]
    values = reader.array("patches", "summarise", "certified")[:, lead, summary.middle]
    title = f"Certified against a patch of {size_text(size)}"
    return [group_column(reader, "patches", "summarise", values, key="certified", title=title, score=SCORE)]


def _left_out(summary: PatchesSummary) -> str:
    return "; ".join([*not_drawn(summary), EFFORTS[summary.budget].leaves_out])
