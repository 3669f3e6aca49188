"""A class: its hard row against its easy row, its slices, and every image by decision value and confidence."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.pieces import SliceCard, Thumb, whisker_scale
from app.audits.slices.page_cards import cards, pictures
from app.audits.slices.page_run import Strength, strength
from app.audits.slices.page_words import small
from app.audits.slices.schema import CaptionScore, ClassSummary, SlicesSummary

ROW = 12
SHOWN = 12


class HardEasy(BaseModel):
    """The two ends of a class."""

    sentence: str
    strength: Strength
    hard: list[Thumb]
    easy: list[Thumb]
    hard_captions: list[CaptionScore]
    easy_captions: list[CaptionScore]


class ClassSlices(BaseModel):
    """The slices of a class."""

    cards: list[SliceCard]
    repeats: list[SliceCard] = Field(description="Slices that hold mostly the images of one above.")
    scale: tuple[float, float]
    all_href: str


class Scatter(BaseModel):
    """Decision value against confidence; the points come as binary columns."""

    data_href: str = Field(description="Path of the points; `app.web.pages.results_points` says how they are packed.")
    images_href: str = Field(description="Path of an image's page without its row.")
    thumbs_href: str = Field(description="Path of a thumbnail without its row.")


def class_panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of a class."""
    summary = SlicesSummary.model_validate(reader.summary("slices"))
    entry = next((c for c in summary.classes if c.index == subject.class_index), None)
    if entry is None:
        return []
    found = [Panel("slices-of-class", "Slices", "slices/class_slices.html", class_slices(entry, reader), 20)]
    if entry.fitted:
        found.append(Panel("slices-hard-easy", "Hard and easy", "slices/hard_easy.html", hard_easy(entry, reader), 10))
        found.append(Panel("slices-scatter", "Every image", "slices/scatter.html", scatter(entry, reader), 30))
    return found


def hard_easy(entry: ClassSummary, reader: RunReader) -> HardEasy:
    """Return the confirm images with the lowest and the highest decision values."""
    where, params = "label = ? AND role = 'confirm'", [entry.index]
    hard = reader.scores(where, params, order="decision", limit=ROW)
    easy = reader.scores(where, params, order="decision DESC", limit=ROW)
    return HardEasy(
        sentence=_consistency(entry),
        strength=strength(entry, reader),
        hard=pictures(reader, [row["row"] - reader.split_start for row in hard]),
        easy=pictures(reader, [row["row"] - reader.split_start for row in easy]),
        hard_captions=entry.hard_captions[:5],
        easy_captions=entry.easy_captions[:5],
    )


def class_slices(entry: ClassSummary, reader: RunReader) -> ClassSlices:
    """Return the class's slices as cards, those that people made included."""
    found = reader.findings("slices", subject="slice", class_index=entry.index, limit=SHOWN)
    shown = cards(reader, found)
    again = {finding.id for finding in found if finding.metrics.get("same_as")}
    home = reader.link(Subject("run", reader.run_id))
    return ClassSlices(
        cards=[card for card in shown if card.id not in again],
        repeats=[card for card in shown if card.id in again],
        scale=whisker_scale(shown),
        all_href=f"{home}/slices?label={entry.index}" if home else "",
    )


def scatter(entry: ClassSummary, reader: RunReader) -> Scatter:
    """Return where the scatter's points are."""
    home = reader.link(Subject("run", reader.run_id))
    return Scatter(
        data_href=f"{home}/points.bin?label={entry.index}",
        images_href=f"{home}/images/",
        thumbs_href=f"/datasets/{reader.dataset_id}/thumbs/",
    )


def _consistency(entry: ClassSummary) -> str:
    if entry.strength is None:
        return entry.reason
    said = f"Cross-validated balanced accuracy {entry.strength:.2f}; 0.50 is chance."
    if entry.strength_null_95 is None:
        return said
    above = entry.strength > entry.strength_null_95
    judged = "more consistent than chance" if above else "no more consistent than chance"
    said = f"{said} With errors shuffled, 95 % of draws stay below {entry.strength_null_95:.2f}: failures are {judged}"
    return f"{said} (p {small(entry.strength_p)})." if entry.strength_p is not None else f"{said}."
