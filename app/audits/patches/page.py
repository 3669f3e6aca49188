"""Panels of the kind `patches`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import NO_SLICES
from app.audits.patches.page_cell import cell_panel
from app.audits.patches.page_groups import GroupLine, classes, part_panel, slices
from app.audits.patches.page_image import image_panel
from app.audits.patches.page_map import Chart, chart
from app.audits.patches.page_sizes import SizeView, cell_link, size_views
from app.audits.patches.schema import PatchesSummary
from app.audits.patches.words import MEANINGS, NAMES, sentences, size_text
from app.audits.pieces import Estimate
from app.audits.stress_pages import panels_for, summary_of

KIND = "patches"
ORDER = 66
_PARTS: Mapping[str, Callable[[Subject, PatchesSummary, RunReader], Panel | None]] = {
    "image": image_panel,
    "class": part_panel,
    "slice": part_panel,
    "cell": cell_panel,
}


class MethodCell(BaseModel):
    """One method at one size."""

    href: str = Field(description="Path of its images; empty in a report.")
    certified: Estimate


class MethodLine(BaseModel):
    """One method over all sizes."""

    name: str
    meaning: str
    settings: str
    passes: float = Field(description="Images shown to the network for each audited one.")
    defended: Estimate = Field(description="Share right unchanged, at the middle size.")
    cells: list[MethodCell]


class RunPatches(BaseModel):
    """What is certified of a run against patches."""

    unavailable: str
    sentences: list[str] = Field(description="How it was measured and what was left out.")
    doubts: list[str]
    middle: str = Field(description="The middle size, in words.")
    middle_column: int
    clean: Estimate | None
    lead: MethodLine | None = Field(description="The method that stands for all in one figure.")
    sizes: list[str]
    methods: list[MethodLine]
    left_out: list[tuple[str, str]] = Field(description="Methods that did not run, and why.")
    chart: Chart | None
    views: list[SizeView]
    slices: list[GroupLine]
    no_slices: str
    classes: list[GroupLine]
    of_classes: int


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    return panels_for(subject, summary_of(reader, KIND, PatchesSummary), reader, _run_panel, _PARTS)


def _run_panel(subject: Subject, summary: PatchesSummary, reader: RunReader) -> Panel:
    measured = not summary.unavailable
    live = subject.type == "robustness" and measured
    found, methods = slices(summary, reader) if live else [], _methods(summary, reader)
    context = RunPatches(
        unavailable=summary.unavailable,
        sentences=sentences(summary) if measured else [],
        doubts=summary.doubts,
        middle=size_text(summary.sizes[summary.middle]) if measured else "",
        middle_column=max(summary.middle, 0),
        clean=summary.clean,
        lead=methods[0] if methods else None,
        sizes=[size_text(size) for size in summary.sizes],
        methods=methods,
        left_out=[(NAMES[method], why) for method, why in summary.left_out.items()],
        chart=chart(summary) if measured else None,
        views=size_views(summary, reader, live=live) if measured else [],
        slices=found,
        no_slices="" if found or not live else NO_SLICES,
        classes=classes(summary, reader),
        of_classes=summary.of_classes,
    )
    return Panel(KIND, "Patch certificates", "patches/run.html", context, ORDER)


def _methods(summary: PatchesSummary, reader: RunReader) -> list[MethodLine]:
    return [
        MethodLine(
            name=NAMES[row.method],
            meaning=MEANINGS[row.method],
            settings=row.settings,
            passes=row.passes,
            defended=row.defended[summary.middle],
            cells=[
                MethodCell(href=cell_link(row.method, size.px, reader), certified=estimate)
                for size, estimate in zip(summary.sizes, row.certified, strict=True)
            ],
        )
        for row in summary.methods
    ]
