"""Panels of the kind `shift`. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.pieces import Estimate, Thumb
from app.audits.shift.effective import Robust, effective
from app.audits.shift.headlines import reversed_sign
from app.audits.shift.kept import KIND
from app.audits.shift.page_cell import cell_panel, typical
from app.audits.shift.page_groups import GroupTable, class_panel, class_table, slice_panel, slice_table, value_table
from app.audits.shift.schema import Changed, ClassImages, SetName, Shares, ShiftSummary, TwoSample, Unlabelled
from app.audits.shift.words import estimate_text, leaves_out, verdict
from app.audits.stress_pages import panels_for, summary_of

ORDER = 66
SHOWN = 12


class RunShift(BaseModel):
    """How the second set differs and what that does to the run's model."""

    unavailable: str
    first: SetName | None = None
    second: SetName | None = None
    notes: list[str] = []
    doubts: list[str] = []
    change: Changed | None = Field(None, description="Accuracy in both sets; none without labels.")
    lost: Estimate | None = Field(None, description="Audited accuracy less that on the second set.")
    verdict: list[str] = Field([], description="Which kind of shift it is, with the evidence.")
    classes: GroupTable | None = None
    slices: GroupTable | None = None
    no_slices: str = ""
    not_placed: int = 0
    values: GroupTable | None = None
    no_values: str = ""
    tests: list[TwoSample] = []
    no_tests: str = ""
    images: list[ClassImages] = []
    unlabelled: Unlabelled | None = None
    estimate_text: list[str] = []
    shares: Shares | None = None
    shares_doubtful: bool = Field(False, description="Images changed within classes, which the estimate denies.")
    no_shares: str = ""
    effective: list[Robust] = []
    typical_first: list[Thumb] = []
    typical: list[Thumb] = []
    typical_href: str = ""
    leaves_out: str = ""
    budget: str = ""


class ImageShift(BaseModel):
    """An audited image beside the second set."""

    score: float = Field(description="Held-out log-odds of belonging to the second set.")
    share: float = Field(description="Share of the audited images that look less like it.")
    second: str


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    return panels_for(subject, summary_of(reader, KIND, ShiftSummary), reader, _run_panel, _PARTS)


def _run_panel(_subject: Subject, summary: ShiftSummary, reader: RunReader) -> Panel:
    if summary.unavailable:
        return Panel(
            KIND, "Shift to a second data set", "shift/run.html", RunShift(unavailable=summary.unavailable), ORDER
        )
    accuracy, groups, space = summary.accuracy, summary.groups, summary.space
    first, second = typical(summary, reader, SHOWN)
    context = RunShift(
        unavailable="",
        first=summary.first,
        second=summary.second,
        notes=summary.notes,
        doubts=summary.doubts,
        change=accuracy.change,
        lost=reversed_sign(accuracy.change.difference) if accuracy.change else None,
        verdict=verdict(summary),
        classes=class_table(summary, reader) if accuracy.classes else None,
        slices=slice_table(summary, reader) if groups.slices else None,
        no_slices=groups.no_slices,
        not_placed=groups.not_placed,
        values=value_table(summary, reader) if groups.values else None,
        no_values=groups.no_values,
        tests=space.tests,
        no_tests=space.unavailable,
        images=space.classes[:SHOWN],
        unlabelled=accuracy.unlabelled,
        estimate_text=estimate_text(summary),
        shares=accuracy.shares,
        shares_doubtful=space.verdict in {"covariate", "both"},
        no_shares=accuracy.no_shares,
        effective=effective(summary, reader),
        typical_first=first,
        typical=second,
        typical_href=reader.link(Subject("cell", reader.run_id, key=f"{KIND}/typical")) if second else "",
        leaves_out=leaves_out(summary),
        budget=summary.budget,
    )
    return Panel(KIND, "Shift to a second data set", "shift/run.html", context, ORDER)


def _image_panel(subject: Subject, summary: ShiftSummary, reader: RunReader) -> Panel | None:
    if summary.space.unavailable or summary.second is None or subject.row is None:
        return None
    scores = np.asarray(reader.array(KIND, "space", "first"))
    own = float(scores[subject.row - reader.split_start])
    if np.isnan(own):
        return None
    known = scores[~np.isnan(scores)]
    context = ImageShift(score=own, share=float((known < own).mean()), second=summary.second.name)
    return Panel(KIND, "Beside the second data set", "shift/image.html", context, ORDER)


_PARTS: Mapping[str, Callable[[Subject, ShiftSummary, RunReader], Panel | None]] = {
    "class": class_panel,
    "slice": slice_panel,
    "image": _image_panel,
    "cell": cell_panel,
}
