"""Panels of the kind `corruptions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.corruptions.page_cell import cell_panel
from app.audits.corruptions.page_gallery import GalleryRow, gallery
from app.audits.corruptions.page_groups import GroupLine, classes, part_panel, slices, values
from app.audits.corruptions.page_heat import Heat, heat
from app.audits.corruptions.page_image import image_panel
from app.audits.corruptions.schema import CorruptionsSummary
from app.audits.corruptions.words import sentences
from app.audits.pieces import Estimate
from app.audits.stress_pages import panels_for, summary_of

KIND = "corruptions"
ORDER = 64
_PARTS: Mapping[str, Callable[[Subject, CorruptionsSummary, RunReader], Panel | None]] = {
    "cell": cell_panel,
    "class": part_panel,
    "slice": part_panel,
    "image": image_panel,
}


class RunCorruptions(BaseModel):
    """What corruptions did to a run's model."""

    unavailable: str
    sentences: list[str] = Field(description="How it was measured, what was left out, and which error is shown.")
    clean: Estimate | None
    mean_error: Estimate | None
    fall: Estimate | None
    alexnet: float | None = Field(description="Mean corruption error relative to AlexNet's, a share.")
    heat: Heat | None
    classes: list[GroupLine]
    slices: list[GroupLine]
    values: list[GroupLine] = Field(description="Groups by the data set's own columns.")
    gallery: list[GalleryRow]


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    return panels_for(subject, summary_of(reader, KIND, CorruptionsSummary), reader, _run_panel, _PARTS)


def _run_panel(subject: Subject, summary: CorruptionsSummary, reader: RunReader) -> Panel:
    live = subject.type == "robustness" and not summary.unavailable
    context = RunCorruptions(
        unavailable=summary.unavailable,
        sentences=[] if summary.unavailable else sentences(summary),
        clean=summary.clean,
        mean_error=summary.mean_error,
        fall=summary.fall,
        alexnet=summary.alexnet,
        heat=None if summary.unavailable else heat(summary, summary.kinds, summary.clean, reader),
        classes=classes(summary, reader),
        slices=slices(reader) if live else [],
        values=values(summary),
        gallery=[] if summary.unavailable else gallery(summary, reader, whole=live),
    )
    return Panel(KIND, "Common corruptions", "corruptions/run.html", context, ORDER)
