"""A slice: statistics in words, exemplars of both sides, captions, what it is mistaken for, typed causes."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.pieces import Estimate, Link, Thumb
from app.audits.slices.page_cards import estimate, measured, pictures
from app.audits.slices.page_words import evidence_words
from app.audits.slices.schema import CaptionScore, Cause, MistakenFor, SliceMetrics

EXEMPLARS = 18
SHOWN_CAPTIONS = 10
TOP_KS = (20, 50, 100)


class Evidence(BaseModel):
    """What the confirm images say."""

    sentences: list[str]
    confirmed: bool
    inside: Estimate
    rest: Estimate
    whole: Estimate
    size: int = Field(description="Images in the slice, fit and confirm.")
    prevalence: float = Field(description="Share of the class's confirm images in the slice.")


class Exemplars(BaseModel):
    """Images of the slice beside easy images of its class."""

    hard: list[Thumb]
    easy: list[Thumb]
    class_name: str


class CaptionRow(BaseModel):
    """A caption and the error rates of the confirm images that match it best."""

    text: str
    z: float
    facet: str
    top: dict[int, Estimate]


class Captions(BaseModel):
    """The captions of a slice, hardest first."""

    rows: list[CaptionRow]
    ks: list[int]
    whole: Estimate = Field(description="Error rate of the whole class, the dashed line.")


class Mistakes(BaseModel):
    """What the wrong images were taken for."""

    rows: list[MistakenFor]
    errors: int
    links: dict[int, Link]


class Causes(BaseModel):
    """Typed reasons, each with the number that speaks for it."""

    causes: list[Cause]


def slice_panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of a slice; none while it waits to be measured."""
    finding = next(iter(reader.findings("slices", id=subject.finding_id)), None)
    metrics = measured(finding) if finding else None
    if finding is None or metrics is None:
        return []
    name = "" if finding.class_index is None else reader.classes[finding.class_index]
    found = [
        Panel("slices-evidence", "Evidence", "slices/evidence.html", evidence(metrics, finding.evidence), 10),
        Panel("slices-exemplars", "Hard and easy", "slices/exemplars.html", exemplars(metrics, name, reader), 20),
    ]
    if metrics.captions:
        found.append(Panel("slices-captions", "Captions", "slices/captions.html", captions(metrics), 30))
    if metrics.mistaken_for:
        found.append(Panel("slices-mistaken", "Taken for", "slices/mistaken.html", mistakes(metrics, reader), 40))
    if metrics.causes:
        found.append(Panel("slices-causes", "Why", "slices/causes.html", Causes(causes=metrics.causes), 50))
    return found


def evidence(metrics: SliceMetrics, state: str) -> Evidence:
    """Return the statistics, drawn and in words."""
    confirmed = state == "confirmed"
    return Evidence(
        sentences=evidence_words(metrics, confirmed),
        confirmed=confirmed,
        inside=estimate(metrics.errors),
        rest=estimate(metrics.rest),
        whole=estimate(metrics.class_errors),
        size=metrics.size,
        prevalence=metrics.prevalence,
    )


def exemplars(metrics: SliceMetrics, class_name: str, reader: RunReader) -> Exemplars:
    """Return images of both sides."""
    return Exemplars(
        hard=pictures(reader, metrics.hard_rows[:EXEMPLARS]),
        easy=pictures(reader, metrics.easy_rows[:EXEMPLARS]),
        class_name=class_name,
    )


def captions(metrics: SliceMetrics) -> Captions:
    """Return the captions with their held-out error rates."""
    return Captions(
        rows=[_caption(row) for row in metrics.captions[:SHOWN_CAPTIONS]],
        ks=[k for k in TOP_KS if any(k in row.top for row in metrics.captions)],
        whole=estimate(metrics.class_errors),
    )


def mistakes(metrics: SliceMetrics, reader: RunReader) -> Mistakes:
    """Return the classes that the slice's wrong images were taken for."""
    return Mistakes(
        rows=metrics.mistaken_for,
        errors=metrics.errors.k,
        links={
            row.class_index: Link(text=row.name, href=reader.link(Subject("class", reader.run_id, row.class_index)))
            for row in metrics.mistaken_for
        },
    )


def _caption(row: CaptionScore) -> CaptionRow:
    return CaptionRow(text=row.text, z=row.z, facet=row.facet, top={k: estimate(rate) for k, rate in row.top.items()})
