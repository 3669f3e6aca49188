"""What corruptions come to, for the report card and the table of classes and slices."""

from __future__ import annotations

from app.audits.base import RunReader
from app.audits.corruptions.schema import KINDS, SEVERITIES, CorruptionsSummary
from app.audits.corruptions.words import FAMILY_NAMES
from app.audits.drawn import group_column
from app.audits.pieces import GroupColumn, Headline
from app.audits.stress_pages import measured, not_drawn, summary_of, unmeasured

TITLE = "Common corruptions"
SCORE = "corruption_share"


def headlines(reader: RunReader) -> list[Headline]:
    """The mean corruption error, or the mean error over what was asked for instead."""
    summary = summary_of(reader, "corruptions", CorruptionsSummary)
    if summary is None or summary.unavailable:
        return unmeasured(TITLE, summary)
    if summary.mean_error is None:
        why = "None of the fifteen kinds that make up the mean error was asked for."
        return [Headline(title=TITLE, text=why)]
    family = FAMILY_NAMES.get(summary.family, summary.family)
    text = f"mean corruption error over {family}’s kinds and severities, not normalised"
    left_out = _left_out(summary)
    return [Headline(title=TITLE, text=text, estimate=summary.mean_error, good=False, leaves_out=left_out)]


def group_columns(reader: RunReader) -> list[GroupColumn]:
    """Accuracy of classes and slices over all measured kinds and severities."""
    if measured(reader, "corruptions", CorruptionsSummary) is None:
        return []
    values = reader.array("corruptions", "summarise", "outcome")[:, 1:].mean(axis=1)
    title = "Right, corrupted"
    return [group_column(reader, "corruptions", "summarise", values, key="right", title=title, score=SCORE)]


def _left_out(summary: CorruptionsSummary) -> str:
    parts = not_drawn(summary)
    if len(summary.kinds) < len(KINDS):
        parts.append(f"{len(KINDS) - len(summary.kinds)} of {len(KINDS)} kinds")
    if len(summary.severities) < len(SEVERITIES):
        parts.append(f"{len(SEVERITIES) - len(summary.severities)} of {len(SEVERITIES)} severities")
    return ", ".join(parts)
