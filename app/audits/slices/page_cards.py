"""Slices as cards, the same on every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.audits.base import RunReader, Subject
from app.audits.pieces import Estimate, Marks, SliceCard, Thumb
from app.audits.slices.page_words import note_words
from app.audits.slices.schema import Rate, SliceMetrics

CARD_THUMBS = 6
REPORT_HARD = 12
UNMARKED = Marks([], "")


def estimate(rate: Rate) -> Estimate:
    """A rate as the macros draw it."""
    return Estimate(value=rate.value, low=rate.low, high=rate.high, n=rate.n)


def measured(finding: Any) -> SliceMetrics | None:
    """The statistics of a slice; none while a slice that people made waits for its measurement."""
    return SliceMetrics.model_validate(finding.metrics) if finding.metrics else None


def cards(reader: RunReader, findings: Sequence[Any]) -> list[SliceCard]:
    """Return the findings as cards; all their pictures are read at once."""
    metrics = [measured(finding) for finding in findings]
    wanted = [m.hard_rows[:CARD_THUMBS] if m else [] for m in metrics]
    seen = dict(_numbered(reader, [row for rows in wanted for row in rows]))
    marks = reader.marks([finding.id for finding in findings])
    return [
        _card(reader, finding, m, [seen[row] for row in rows if row in seen]).model_copy(
            update=marks.get(finding.id, UNMARKED)._asdict()
        )
        for finding, m, rows in zip(findings, metrics, wanted, strict=True)
    ]


def report_rows(metrics: Mapping[str, Any]) -> Sequence[int]:
    """Positions of the images that a slice shows in a report: its hardest ones, then an easy row."""
    return [*metrics.get("hard_rows", [])[:REPORT_HARD], *metrics.get("easy_rows", [])[:CARD_THUMBS]]


def pictures(reader: RunReader, positions: Sequence[int]) -> list[Thumb]:
    """Return the pictures that there are, in order."""
    return [thumb for thumb in reader.thumbs(positions) if thumb]


def _numbered(reader: RunReader, positions: Sequence[int]) -> list[tuple[int, Thumb]]:
    unique = list(dict.fromkeys(positions))
    return [(row, thumb) for row, thumb in zip(unique, reader.thumbs(unique), strict=True) if thumb]


def _card(reader: RunReader, finding: Any, metrics: SliceMetrics | None, thumbs: list[Thumb]) -> SliceCard:
    confirmed = finding.evidence == "confirmed"
    return SliceCard(
        id=finding.id,
        title=finding.title,
        class_name="" if finding.class_index is None else reader.classes[finding.class_index],
        href=reader.link(Subject("slice", reader.run_id, finding.class_index, finding.id)),
        evidence=finding.evidence,
        error=estimate(metrics.errors) if metrics else None,
        class_error=estimate(metrics.class_errors) if metrics else None,
        note=note_words(metrics, confirmed) if metrics else "Being measured on confirm images.",
        thumbs=thumbs,
    )
