"""Panels of the kind `smoothing`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import NO_SLICES
from app.audits.pieces import Estimate, Thumb
from app.audits.smoothing.figures import KIND, middle, shown_variant
from app.audits.smoothing.page_cells import Asked, asked_cells, cell_panel, extremes
from app.audits.smoothing.page_curve import Chart, chart
from app.audits.smoothing.page_groups import GroupLine, classes, part_panel, slices
from app.audits.smoothing.page_image import image_panel
from app.audits.smoothing.schema import SmoothingSummary
from app.audits.smoothing.words import plain, sentences, title
from app.audits.stress_pages import panels_for, summary_of

ORDER = 66
THUMBS = 12
_PARTS: Mapping[str, Callable[[Subject, SmoothingSummary, RunReader], Panel | None]] = {
    "cell": cell_panel,
    "class": part_panel,
    "slice": part_panel,
    "image": image_panel,
}


class VariantRow(BaseModel):
    """A network under one noise."""

    name: str
    base: Estimate
    noisy: Estimate
    smoothed: Estimate
    abstained: Estimate
    asked: list[Asked]
    reach: str = Field(description="The largest radius that the number of copies and α can certify at all.")
    copies: str = Field(description="Noisy copies an image, on average.")


class RunSmoothing(BaseModel):
    """What smoothing certifies of a run's model."""

    unavailable: str
    sentences: list[str] = Field(description="How it was measured, what it is worth, and what was left out.")
    plain: list[str] = Field(description="What noise alone does, where it does much.")
    radii: list[str]
    variants: list[VariantRow]
    chart: Chart | None
    asks: bool = Field(description="Whether only the given radii were asked.")
    noise: str = Field(description="The noise that groups are shown for.")
    middle: str = Field(description="The radius that groups are shown for.")
    classes: list[GroupLine]
    of_classes: int
    slices: list[GroupLine]
    no_slices: str
    no_copy: str
    least: list[Thumb]
    most: list[Thumb]


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    return panels_for(subject, summary_of(reader, KIND, SmoothingSummary), reader, _run_panel, _PARTS)


def _run_panel(subject: Subject, summary: SmoothingSummary, reader: RunReader) -> Panel:
    there, live = not summary.unavailable, subject.type == "robustness" and not summary.unavailable
    found = slices(summary, reader) if live else []
    least, most = extremes(summary, reader, THUMBS) if live else ([], [])
    context = RunSmoothing(
        unavailable=summary.unavailable,
        sentences=sentences(summary) if there else [],
        plain=[text for variant in summary.variants if (text := plain(variant, summary))],
        radii=summary.radii,
        variants=[_row(number, summary, reader) for number in range(len(summary.variants))],
        chart=chart(summary) if there else None,
        asks=summary.budget == "quick",
        noise=shown_variant(summary) if there else "",
        middle=summary.radii[middle(summary.radii) - 1] if there else "",
        classes=classes(summary, reader),
        of_classes=summary.of_classes,
        slices=found,
        no_slices="" if found or not live else NO_SLICES,
        no_copy=summary.no_copy,
        least=least,
        most=most,
    )
    return Panel(KIND, "Randomised smoothing", "smoothing/run.html", context, ORDER)


def _row(number: int, summary: SmoothingSummary, reader: RunReader) -> VariantRow:
    variant = summary.variants[number]
    return VariantRow(
        name=title(variant),
        base=variant.base,
        noisy=variant.noisy,
        smoothed=variant.smoothed,
        abstained=variant.abstained,
        asked=asked_cells(variant.asked, number, reader),
        reach=f"{variant.reach:.3g}",
        copies=f"{variant.mean_copies:,.0f}",
    )
