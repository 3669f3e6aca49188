"""What smoothing comes to, for the report card and the table of classes and slices. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunReader
from app.audits.drawn import group_column
from app.audits.pieces import GroupColumn, Headline
from app.audits.smoothing.figures import KIND, SCORE, STAGE, middle, read, shown_variant
from app.audits.smoothing.schema import SmoothingSummary
from app.audits.smoothing.words import plain

TITLE = "Randomised smoothing"


def headlines(reader: RunReader) -> list[Headline]:
    """Certified accuracy at the middle one of the radii that were asked."""
    raw = reader.summary(KIND)
    if not raw:
        return []
    summary = SmoothingSummary.model_validate(raw)
    if summary.unavailable:
        return [Headline(title=TITLE, text=summary.unavailable)]
    variant, column = summary.variants[summary.first], middle(summary.radii)
    drawn = summary.of_rows - summary.rows
    images = [f"{drawn:,} of {summary.of_rows:,} images"] if drawn else []
    return [
        Headline(
            title=TITLE,
            text=f"are right and certified for every change of L2 length up to {summary.radii[column - 1]}, smoothed "
            f"with {shown_variant(summary)}",
            estimate=variant.asked[column - 1].certified,
            leaves_out="; ".join([*images, summary.leaves_out]),
            doubt=plain(variant, summary),
        )
    ]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Classes and slices at the middle radius."""
    raw = reader.summary(KIND)
    if not raw or raw.get("unavailable"):
        return []
    summary = SmoothingSummary.model_validate(raw)
    column = middle(summary.radii)
    title = f"Certified by smoothing, L2 r = {summary.radii[column - 1]}, {shown_variant(summary)}"
    values = read(reader, summary.first).certified(column)
    return [group_column(reader, KIND, STAGE, values, key="certified", title=title, score=SCORE)]
