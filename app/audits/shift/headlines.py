"""What the second data set comes to, in a line of the report card."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.audits.base import RunReader, Subject
from app.audits.pieces import Estimate, GroupColumn, GroupFigure, Headline
from app.audits.shift.kept import KIND
from app.audits.shift.schema import LEVEL, AccuracyPart, GroupShift, ShiftSummary
from app.audits.shift.words import leaves_out
from app.audits.stress_pages import measured, summary_of, unmeasured
from app.numerics.significance import benjamini_hochberg, slice_excess_p_value

LEAST = 5
"""Images of the second set below which a class or slice is not shown."""
TITLE = "Shift to a second data set"


def headlines(reader: RunReader) -> list[Headline]:
    """Return the accuracy lost on the second set, or the accuracy that is to be expected where it has no labels."""
    summary = summary_of(reader, KIND, ShiftSummary)
    if summary is None or summary.second is None:
        return unmeasured(TITLE, summary)
    title, left = f"Shift to {summary.second.name}", leaves_out(summary)
    change, found = summary.accuracy.change, summary.accuracy.unlabelled
    if change is not None:
        lost = reversed_sign(change.difference)
        doubt = summary.doubts[0] if summary.doubts else ""
        return [Headline(title=title, text="accuracy lost", estimate=lost, good=False, leaves_out=left, doubt=doubt)]
    if found is None:
        return [Headline(title=title, text=summary.accuracy.no_estimate, leaves_out=left)]
    text, doubt = "right, estimated without labels", _doubt(summary.accuracy)
    return [Headline(title=title, text=text, estimate=found.estimate, leaves_out=left, doubt=doubt)]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Return how often the model is right on the second set, by class and slice."""
    summary = measured(reader, KIND, ShiftSummary)
    change = summary.accuracy.change if summary else None
    if summary is None or summary.second is None or change is None:
        return []
    ids = {finding.key: finding.id for finding in reader.findings("slices", subject="slice")}
    classes = {("class", group.class_index): group for group in summary.accuracy.classes}
    slices = {("slice", ids[group.key]): group for group in summary.groups.slices if group.key in ids}
    figures = _figures({**classes, **slices}, change.second, reader)
    return [
        GroupColumn(
            key="second",
            title=f"right on {summary.second.name}",
            overall=change.second,
            classes={number: figure for (type_, number), figure in figures.items() if type_ == "class"},
            slices={number: figure for (type_, number), figure in figures.items() if type_ == "slice"},
        )
    ]


def _figures(
    groups: Mapping[tuple[str, int | None], GroupShift], whole: Estimate, reader: RunReader
) -> dict[tuple[str, int], GroupFigure]:
    """The groups with enough images; worse: than the second set's other images, by more than chance."""
    shown = {
        (type_, number): group.accuracy.second
        for (type_, number), group in groups.items()
        if number is not None and group.accuracy is not None and group.accuracy.second.n >= LEAST
    }
    wrong, n = (np.array([pair[i] for pair in map(_wrong, shown.values())], np.int64) for i in range(2))
    tested = benjamini_hochberg(slice_excess_p_value(wrong, n, *_wrong(whole)))
    return {
        name: GroupFigure(estimate=estimate, worse=bool(q <= LEVEL), href=_images(groups[name], name[0], reader))
        for (name, estimate), q in zip(shown.items(), tested, strict=True)
    }


def _images(group: GroupShift, type_: str, reader: RunReader) -> str:
    """Its images in both sets."""
    key = group.key if type_ == "class" else f"slice-{group.key}"
    return reader.link(Subject("cell", reader.run_id, key=f"shift/{key}"))


def _wrong(found: Estimate) -> tuple[int, int]:
    return found.n - round(found.value * found.n), found.n


def reversed_sign(found: Estimate) -> Estimate:
    """A loss instead of a difference."""
    low, high = (None if end is None else -end for end in (found.high, found.low))
    return Estimate(value=-found.value, low=low, high=high, n=found.n)


def _doubt(accuracy: AccuracyPart) -> str:
    found = accuracy.unlabelled
    worst = max((test.error for test in found.tests), default=0.0) if found else 0.0
    return (
        f"On parts of the audited set the estimate is off by up to {100 * worst:.1f} points on average."
        if worst
        else ""
    )
