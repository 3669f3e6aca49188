"""Answers to questions: a hypothesis with its numbers, and images that are like the marked ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.pieces import Estimate, Link, Thumb
from app.audits.slices.page_cards import estimate, pictures
from app.audits.slices.page_near import answered
from app.audits.slices.page_words import rate_words, small
from app.audits.slices.parts_schema import PartsAnswer
from app.audits.slices.schema import ClimbAnswer, HypothesisAnswer

SHOWN = 36
_SCALE_STEPS = 10


class Overlap(BaseModel):
    """A known slice that the answer meets."""

    link: Link
    share: float = Field(description="Share of the answer's images that are in the slice.")


class Hypothesis(BaseModel):
    """What confirm images say of a claim."""

    sentences: list[str]
    inside: Estimate
    outside: Estimate
    scale: tuple[float, float]
    items: list[Thumb] = Field(description="Images that count as in.")
    overlap: list[Overlap]
    rows: str = Field(description="Data set rows that count as in, with commas between them.")


class MarkedThumb(BaseModel):
    """A picture with a place to mark it in or out."""

    position: int
    item: Thumb
    score: float


class Climb(BaseModel):
    """Images like the marked ones, nearest first."""

    items: list[MarkedThumb]


class ShownPart(BaseModel):
    """A part of a proposed split."""

    n: int
    fit: int
    confirm: int
    items: list[Thumb] = Field(description="The fit images nearest to its centre.")


class ShownSplit(BaseModel):
    """A proposed split."""

    count: int
    separation: float = Field(description="How clearly the parts lie apart, in [0, 1].")
    parts: list[ShownPart]


class Parts(BaseModel):
    """Splits of a slice to choose from, the clearest first."""

    finding_id: int
    splits: list[ShownSplit]


def answer(action: str, result: Mapping[str, Any], reader: RunReader) -> Panel | None:
    """Return the panel that shows a worker's answer; none for questions that have no page."""
    if action == "hypothesis":
        shown = hypothesis(HypothesisAnswer.model_validate(result), reader)
        return Panel("slices-hypothesis", "Answer", "slices/hypothesis.html", shown)
    if action == "climb":
        return Panel("slices-climb", "Most like your marks", "slices/climb.html", _climb(result, reader))
    if action == "parts":
        return Panel("slices-parts", "Proposed parts", "slices/parts.html", parts(result, reader))
    if action == "neighbours":
        return Panel("slices-near", "Nearest images", "slices/near.html", answered(result, reader))
    return None


def parts(result: Mapping[str, Any], reader: RunReader) -> Parts:
    """Return the proposed splits, the clearest first."""
    found = PartsAnswer.model_validate(result)
    ranked = sorted(zip(found.counts, found.proposals, strict=True), key=lambda entry: entry[0] != found.best)
    return Parts(
        finding_id=found.finding_id,
        splits=[
            ShownSplit(
                count=count,
                separation=proposal.separation,
                parts=[
                    ShownPart(n=part.n, fit=part.fit, confirm=part.confirm, items=pictures(reader, part.exemplars))
                    for part in proposal.parts
                ],
            )
            for count, proposal in ranked
        ],
    )


def hypothesis(found: HypothesisAnswer, reader: RunReader) -> Hypothesis:
    """Return the answer as a page shows it."""
    known = {f.key: f for f in reader.findings("slices", key=[entry.key for entry in found.overlap])}
    inside, outside = estimate(found.inside), estimate(found.outside)
    highest = max(inside.high or 0, outside.high or 0)
    return Hypothesis(
        sentences=[
            f"On the confirm images that it names the model is wrong on {rate_words(found.inside)}.",
            f"On the other confirm images it is wrong on {rate_words(found.outside)}.",
            f"Exact test p {small(found.p_value)}, before the questions asked earlier are counted.",
        ],
        inside=inside,
        outside=outside,
        scale=(0.0, min(1.0, (int(highest * _SCALE_STEPS) + 1) / _SCALE_STEPS)),
        items=pictures(reader, found.rows[:SHOWN]),
        overlap=[
            Overlap(link=_slice_link(reader, known[entry.key]), share=entry.share)
            for entry in found.overlap
            if entry.key in known and entry.share > 0
        ],
        rows=",".join(str(reader.split_start + row) for row in found.rows),
    )


def _climb(result: Mapping[str, Any], reader: RunReader) -> Climb:
    found = ClimbAnswer.model_validate(result)
    shown = zip(found.rows, found.scores, reader.thumbs(found.rows), strict=True)
    return Climb(items=[MarkedThumb(position=row, score=score, item=item) for row, score, item in shown if item])


def _slice_link(reader: RunReader, finding: Any) -> Link:
    subject = Subject("slice", reader.run_id, finding.class_index, finding.id)
    return Link(text=finding.title, href=reader.link(subject))
