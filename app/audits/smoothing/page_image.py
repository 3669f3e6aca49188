"""One image under every noise that was tried on it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.smoothing.figures import KIND, STAGE, Found, read
from app.audits.smoothing.schema import SmoothingSummary, Variant
from app.audits.smoothing.words import title


class VariantLine(BaseModel):
    """What smoothing says of the image under one noise."""

    name: str
    taken: str = Field(description="The smoothed answer, or that it abstains.")
    right: bool | None = Field(description="None where it abstains.")
    radius: str
    answers: list[str] = Field(description="One for each radius that was asked.")
    copies: int


class ImageSmoothing(BaseModel):
    """An image under smoothing."""

    sentence: str
    radii: list[str]
    variants: list[VariantLine]
    asks: bool


def image_panel(subject: Subject, summary: SmoothingSummary, reader: RunReader) -> Panel | None:
    """Return what smoothing says of an image; none where it was not drawn."""
    positions = reader.array(KIND, STAGE, "positions")
    places = np.flatnonzero(positions == (subject.row or 0) - reader.split_start)
    if subject.row is None or not len(places):
        return None
    found = [read(reader, variant).take(places[:1]) for variant in range(len(summary.variants))]
    lines = [_line(one, variant, summary, reader) for one, variant in zip(found, summary.variants, strict=True)]
    context = ImageSmoothing(
        sentence=_sentence(found, summary),
        radii=summary.radii,
        variants=lines,
        asks=summary.budget == "quick",
    )
    return Panel("smoothing-image", "Under randomised smoothing", "smoothing/image.html", context, 47)


def _sentence(found: list[Found], summary: SmoothingSummary) -> str:
    radius = [float(one.radius[0]) if one.right[0] and not one.abstained[0] else -1.0 for one in found]
    best = int(np.argmax(radius))
    if radius[best] < 0:
        return "Under no noise that was tried does the smoothed model give the right answer without abstaining."
    if radius[best] == 0:
        return "The smoothed model is right, but no radius that was asked is certified."
    lines, each = len(found), f"{summary.alpha:g}"
    error = each if lines == 1 else f"{lines * summary.alpha:g}: {each} for each of the {lines} lines below"
    return (
        f"The smoothed model ({title(summary.variants[best])}) gives the right answer for every change of L2 length up "
        f"to {radius[best]:.3g}, with probability of error at most {error}."
    )


def _line(found: Found, variant: Variant, summary: SmoothingSummary, reader: RunReader) -> VariantLine:
    abstained = bool(found.abstained[0])
    return VariantLine(
        name=title(variant),
        taken="abstains" if abstained else reader.classes[int(found.taken[0])],
        right=None if abstained else bool(found.right[0]),
        radius="none" if abstained else f"{float(found.radius[0]):.3g}",
        answers=[found.answer(column) for column in range(1, found.decided.shape[1])],
        copies=int(found.used[0]),
    )
