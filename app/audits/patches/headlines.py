"""What patch certificates come to, for the report card and the table of classes and slices. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunReader
from app.audits.drawn import group_column
from app.audits.patches.budgets import EFFORTS
from app.audits.patches.schema import METHODS, SCORE, PatchesSummary
from app.audits.patches.words import NAMES, size_text
from app.audits.pieces import GroupColumn, Headline

TITLE = "Patch certificates"


def headlines(reader: RunReader) -> list[Headline]:
    """What the leading method certifies at the middle size: it is not chosen by what it found."""
    raw = reader.summary("patches")
    if not raw:
        return []
    summary = PatchesSummary.model_validate(raw)
    if summary.unavailable:
        return [Headline(title=TITLE, text=summary.unavailable)]
    lead, size = summary.methods[0], summary.sizes[summary.middle]
    text = f"are proven right whatever a patch of {size_text(size)} shows, with the defence “{NAMES[lead.method]}”"
    estimate = lead.certified[summary.middle]
    doubt = next(iter(summary.doubts), "")
    return [Headline(title=TITLE, text=text, estimate=estimate, leaves_out=_left_out(summary), doubt=doubt)]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Classes and slices at the same size, by the same method."""
    raw = reader.summary("patches")
    if not raw or raw.get("unavailable"):
        return []
    summary = PatchesSummary.model_validate(raw)
    lead, size = METHODS.index(summary.methods[0].method), summary.sizes[summary.middle]
    values = reader.array("patches", "summarise", "certified")[:, lead, summary.middle]
    title = f"Certified against a patch of {size_text(size)}"
    return [group_column(reader, "patches", "summarise", values, key="certified", title=title, score=SCORE)]


def _left_out(summary: PatchesSummary) -> str:
    rest = summary.of_rows - summary.rows
    images = [f"{rest:,} of {summary.of_rows:,} images"] if rest else []
    return "; ".join([*images, EFFORTS[summary.budget].leaves_out])
