"""What the second data set comes to, in a line of the report card."""

from __future__ import annotations

from app.audits.base import RunReader
from app.audits.pieces import Estimate, Headline
from app.audits.shift.schema import AccuracyPart, ShiftSummary
from app.audits.shift.words import leaves_out

TITLE = "Shift to a second data set"


def headlines(reader: RunReader) -> list[Headline]:
    """Return the accuracy lost on the second set, or the accuracy that is to be expected where it has no labels."""
    raw = reader.summary("shift")
    if not raw:
        return []
    summary = ShiftSummary.model_validate(raw)
    if summary.unavailable or summary.second is None:
        return [Headline(title=TITLE, text=summary.unavailable)]
    title, left = f"Shift to {summary.second.name}", leaves_out(summary)
    change, found = summary.accuracy.change, summary.accuracy.unlabelled
    if change is not None:
        lost = reversed_sign(change.difference)
        doubt = summary.notes[0] if summary.notes else ""
        return [Headline(title=title, text="accuracy lost", estimate=lost, good=False, leaves_out=left, doubt=doubt)]
    if found is None:
        return [Headline(title=title, text=summary.accuracy.no_estimate, leaves_out=left)]
    text, doubt = "right, estimated without labels", _doubt(summary.accuracy)
    return [Headline(title=title, text=text, estimate=found.estimate, leaves_out=left, doubt=doubt)]


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
