"""What the report card of a run says of slices: the worst ones, how consistent each class's failures are, trust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.pieces import Estimate, SliceCard, whisker_scale
from app.audits.slices.page_cards import cards
from app.audits.slices.page_words import METHOD_NAMES, looked_at_words, trust_words
from app.audits.slices.schema import ClassSummary, MethodSummary, SlicesSummary

SHOWN_CONFIRMED = 8
MOST_READ = 60
SHOWN_INSUFFICIENT = 6
SHOWN_CLASSES = 20


class WorstSlices(BaseModel):
    """The worst confirmed slices, then those without enough evidence."""

    sentence: str = Field(description="How many were looked at and how many hold.")
    confirmed: list[SliceCard]
    insufficient: list[SliceCard]
    insufficient_total: int
    scale: tuple[float, float] = Field(description="From and to of all whiskers.")
    all_href: str = Field(description="Path of the list of all slices; empty in a report.")
    notes: list[str] = Field(description="What the run could not do.")


class Strength(BaseModel):
    """How consistent one class's failures are, against chance."""

    name: str
    href: str
    strength: Estimate | None = Field(description="Balanced accuracy over held-out folds; 0.5 is chance.")
    null_95: float | None = Field(description="95 % of shuffles stay below this.")
    p_value: float | None
    errors: Estimate
    reason: str = Field(description="Why there is no figure.")


class Strengths(BaseModel):
    """Classes, the most consistent failures first."""

    classes: list[Strength]
    left_out: int
    all_href: str


class MethodRow(BaseModel):
    """One method on this data."""

    name: str
    candidates: int
    confirmed: int
    precision_at_10: Estimate | None = Field(description="Over slices planted in the user's data.")
    precision_at_25: Estimate | None
    note: str


class EncoderRow(BaseModel):
    """Mean held-out strength in one space."""

    name: str
    strength: Estimate


class Trust(BaseModel):
    """How far to trust the list."""

    sentence: str
    methods: list[MethodRow]
    encoders: list[EncoderRow]
    captions: str


def run_panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of a run's report card."""
    summary = SlicesSummary.model_validate(reader.summary("slices"))
    return [
        Panel("slices-worst", "Worst slices", "slices/worst.html", worst(summary, reader), 20),
        Panel("slices-strength", "Consistency of failures", "slices/strength.html", strengths(summary, reader), 50),
        Panel("slices-trust", "How far to trust this list", "slices/trust.html", trust(summary), 60),
    ]


def worst(summary: SlicesSummary, reader: RunReader) -> WorstSlices:
    """Return the cards of the report card."""
    confirmed = _distinct(reader.findings("slices", subject="slice", evidence="confirmed", limit=MOST_READ))
    insufficient = reader.findings("slices", subject="slice", evidence="insufficient", limit=SHOWN_INSUFFICIENT)
    shown = cards(reader, [*confirmed, *insufficient])
    split = len(confirmed)
    return WorstSlices(
        sentence=looked_at_words(summary.candidates, summary.confirmed, summary.fdr, summary.confirm_rows),
        confirmed=shown[:split],
        insufficient=shown[split:],
        insufficient_total=max(summary.candidates - summary.confirmed, len(insufficient)),
        scale=whisker_scale(shown),
        all_href=_below(reader, "slices"),
        notes=summary.notes,
    )


def _distinct(found: Sequence[Any]) -> list[Any]:
    """The worst slices that no better one repeats; all are on the list of slices."""
    return [finding for finding in found if not finding.metrics.get("same_as")][:SHOWN_CONFIRMED]


def strengths(summary: SlicesSummary, reader: RunReader) -> Strengths:
    """Return the classes whose strength stands highest above its null."""
    ranked = sorted(summary.classes, key=_above_null, reverse=True)
    return Strengths(
        classes=[strength(entry, reader) for entry in ranked[:SHOWN_CLASSES]],
        left_out=max(len(ranked) - SHOWN_CLASSES, 0),
        all_href=_below(reader, "classes"),
    )


def strength(entry: ClassSummary, reader: RunReader) -> Strength:
    """Return one class's row."""
    rate = entry.errors
    return Strength(
        name=entry.name,
        href=reader.link(Subject("class", reader.run_id, entry.index)),
        strength=None if entry.strength is None else Estimate(value=entry.strength, n=entry.n),
        null_95=entry.strength_null_95,
        p_value=entry.strength_p,
        errors=Estimate(value=rate.value, low=rate.low, high=rate.high, n=rate.n),
        reason=entry.reason,
    )


def trust(summary: SlicesSummary) -> Trust:
    """Return the methods, best first, with what the planted slices say."""
    ranked = sorted(summary.methods, key=lambda m: m.precision_at_10 or 0.0, reverse=True)
    baseline = next((m.precision_at_10 for m in ranked if m.method == "confidence"), None)
    real = next((m for m in ranked if m.method != "confidence"), None)
    return Trust(
        sentence=trust_words(real.precision_at_10 if real else None, real.planted if real else 0, baseline),
        methods=[_method(m) for m in ranked],
        encoders=[
            EncoderRow(name=e.encoder, strength=Estimate(value=e.strength, n=e.classes))
            for e in sorted(summary.encoders, key=lambda e: e.strength, reverse=True)
        ],
        captions=_captions(summary),
    )


def _method(row: MethodSummary) -> MethodRow:
    def planted(value: float | None) -> Estimate | None:
        return None if value is None else Estimate(value=value, n=row.planted)

    return MethodRow(
        name=METHOD_NAMES[row.method],
        candidates=row.candidates,
        confirmed=row.confirmed,
        precision_at_10=planted(row.precision_at_10),
        precision_at_25=planted(row.precision_at_25),
        note=row.note,
    )


def _captions(summary: SlicesSummary) -> str:
    if summary.captions_available:
        return f"Captions were chosen from a bank of {summary.caption_bank:,} sentences."
    return "This encoder reads no text, so slices have no captions."


def _above_null(entry: ClassSummary) -> float:
    return -1.0 if entry.strength is None else entry.strength - (entry.strength_null_95 or 0.5)


def _below(reader: RunReader, part: str) -> str:
    home = reader.link(Subject("run", reader.run_id))
    return f"{home}/{part}" if home else ""
