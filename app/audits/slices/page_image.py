"""An image: where it stands among the images of its class, and the slices that it belongs to."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.pieces import SliceCard, whisker_scale
from app.audits.slices.page_cards import cards
from app.audits.slices.page_near import near


class Place(BaseModel):
    """How hard the image looks by the direction of its class."""

    sentence: str
    harder_than: float | None = Field(description="Share of its class's audited images with a higher decision value.")
    decision: float | None
    role: str


class ImageSlices(BaseModel):
    """The slices that hold the image."""

    cards: list[SliceCard]
    scale: tuple[float, float]


def image_panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of an image of the audited split."""
    row = next(iter(reader.scores("row = ?", [subject.row], limit=1, wide=True)), None)
    if row is None:
        return []
    found = [Panel("slices-place", "How hard it looks", "slices/place.html", place(row, reader), 20)]
    keys = row.get("slices") or []
    findings = reader.findings("slices", subject="slice", key=list(keys)) if keys else []
    if findings:
        shown = cards(reader, findings)
        context = ImageSlices(cards=shown, scale=whisker_scale(shown))
        found.append(Panel("slices-of-image", "Slices", "slices/image_slices.html", context, 30))
    found.append(Panel("slices-near", "Nearest of all images", "slices/near.html", near(row["row"], reader), 40))
    return found


def place(row: dict[str, Any], reader: RunReader) -> Place:
    """Return the image's standing within its class."""
    decision = row.get("decision")
    role = "confirm" if row["role"] == "confirm" else "fit"
    if decision is None or row["label"] < 0:
        return Place(sentence="No direction was fitted for its class.", harder_than=None, decision=None, role=role)
    total = reader.count("label = ? AND decision IS NOT NULL", [row["label"]])
    easier = reader.count("label = ? AND decision > ?", [row["label"], decision])
    share = easier / total if total else 0.0
    sentence = f"It looks harder than {100 * share:.0f} % of the {total:,} audited images of its class."
    return Place(sentence=sentence, harder_than=share, decision=decision, role=role)
