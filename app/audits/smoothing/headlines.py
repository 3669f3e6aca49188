"""What smoothing comes to, for the report card and the table of classes and slices. Imports no torch."""

from __future__ import annotations

from app.audits.base import RunReader
from app.audits.drawn import group_column
from app.audits.pieces import GroupColumn, Headline
from app.audits.smoothing.figures import KIND, SCORE, STAGE, middle, read, shown_variant
from app.audits.smoothing.schema import SmoothingSummary
from app.audits.smoothing.words import plain
from app.audits.stress_pages import measured, not_drawn, summary_of, unmeasured

TITLE = "Randomised smoothing"


def headlines(reader: RunReader) -> list[Headline]:
    """Certified accuracy at the middle one of the radii that were asked."""
    summary = summary_of(reader, KIND, SmoothingSummary)
    if summary is None or summary.unavailable:
        return unmeasured(TITLE, summary)
    variant, column = summary.variants[summary.first], middle(summary.radii)
    return [
        Headline(
            title=TITLE,
            text=f"are right and certified for every change of L2 length up to {summary.radii[column - 1]}, smoothed "
            f"with {shown_variant(summary)}",
            estimate=variant.asked[column - 1].certified,
            leaves_out="; ".join([*not_drawn(summary), summary.leaves_out]),
            doubt=plain(variant, summary),
        )
    ]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Classes and slices at the middle radius."""
    summary = measured(reader, KIND, SmoothingSummary)
    if summary is None:
        return []
    column = middle(summary.radii)
    title = f"Certified by smoothing, L2 r = {summary.radii[column - 1]}, {shown_variant(summary)}"
    values = read(reader, summary.first).certified(column)
    return [group_column(reader, KIND, STAGE, values, key="certified", title=title, score=SCORE)]
