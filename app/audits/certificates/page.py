"""Panels of the kind `certificates`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.certificates.page_cell import cell_panel
from app.audits.certificates.page_groups import BracketLine, classes, levels, part_panel, slices
from app.audits.certificates.page_image import image_panel, triples
from app.audits.certificates.schema import CertificatesSummary, Radius, Step
from app.audits.certificates.words import doubt, sentences
from app.audits.drawn import NO_SLICES
from app.audits.pieces import Estimate
from app.audits.stress_pages import panels_for, summary_of
from app.audits.triples import Triple

KIND = "certificates"
ORDER = 61
MOST, MOST_IN_REPORT = 12, 4
"""Counterexamples, as many as are shown."""
_PARTS: Mapping[str, Callable[[Subject, CertificatesSummary, RunReader], Panel | None]] = {
    "cell": cell_panel,
    "class": part_panel,
    "slice": part_panel,
    "image": image_panel,
}


class RunCertificates(BaseModel):
    """What is proven of a run's model, what is broken, and what lies between."""

    unavailable: str
    doubt: str = Field(description="Why little or nothing was proven; empty where enough was.")
    sentences: list[str] = Field(description="What the shares mean, how they were measured, what was left out.")
    clean: Estimate | None
    levels: list[BracketLine]
    shown: str = Field(description="The ε of the lists of classes and slices.")
    steps: list[Step]
    radii: list[str] = Field(description="ε as written, the columns of the steps' counts.")
    curve: list[Radius]
    median: float | None
    slices: list[BracketLine]
    no_slices: str
    classes: list[BracketLine]
    of_classes: int
    triples: list[Triple]


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    return panels_for(subject, summary_of(reader, KIND, CertificatesSummary), reader, _run_panel, _PARTS)


def _run_panel(subject: Subject, summary: CertificatesSummary, reader: RunReader) -> Panel:
    live = subject.type == "robustness" and not summary.unavailable
    found = slices(summary, reader) if live else []
    context = RunCertificates(
        unavailable=summary.unavailable,
        doubt="" if summary.unavailable else doubt(summary),
        sentences=[] if summary.unavailable else sentences(summary),
        clean=summary.clean,
        levels=levels(summary, reader),
        shown=summary.levels[summary.shown].text if summary.levels else "",
        steps=summary.steps,
        radii=[level.text for level in summary.levels],
        curve=summary.curve,
        median=summary.median,
        slices=found,
        no_slices="" if found or not live else NO_SLICES,
        classes=classes(summary, reader),
        of_classes=summary.of_classes,
        triples=[] if summary.unavailable else triples(summary, reader, MOST if live else MOST_IN_REPORT),
    )
    return Panel(KIND, "Proofs of robustness", "certificates/run.html", context, ORDER)
