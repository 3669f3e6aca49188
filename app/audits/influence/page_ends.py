"""A method's two ends as pages draw them: the most helpful and the most harmful pictures, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import RunReader, Subject
from app.audits.influence.page_stability import Steadiness
from app.audits.influence.schema import BASELINE, METHODS, InfluenceSummary, MethodSummary
from app.audits.pieces import Estimate, Thumb

SHOWN = 12
UNVERIFIED = "Unverified: no model was retrained without these images, so nothing shows that they matter."
VERIFIED = (
    "Beside each method stands its linear datamodelling score, the rank correlation with what retrained networks gave; "
    "1 is best"
)


class Ends(BaseModel):
    """A method's two ends."""

    title: str
    scale: str = Field(description="What a score means.")
    verified: bool
    evidence: str = Field(description="What retraining said of the method, or that nothing was retrained.")
    lds: Estimate | None = Field(description="Linear datamodelling score; none where nothing was retrained.")
    beaten: bool = Field(description="Whether plain similarity does as well.")
    steady: Steadiness | None = Field(
        description="How stable the two lists are; none where nobody halved the evidence."
    )
    helpful: list[Thumb]
    harmful: list[Thumb]


class AllEnds(BaseModel):
    """Every method's ends, the most trusted first, on one scale of trust."""

    methods: list[Ends]
    scale: tuple[float, float] = Field(description="Ends of the axis that all scores of trust share.")
    ceiling: float | None = Field(description="The score of trust that a perfect attribution would get.")
    direction: str = Field(description="What a positive and what a negative score say, in a sentence.")
    note: str


def ends(
    method: MethodSummary,
    summary: InfluenceSummary,
    helpful: list[Thumb],
    harmful: list[Thumb],
    steady: Steadiness | None = None,
) -> Ends:
    """Return a method's ends with what is known of its worth."""
    text = METHODS[method.method]
    return Ends(
        title=text.title,
        scale=text.scale,
        verified=method.verified == "verified",
        evidence=evidence(method),
        lds=estimate(method, summary),
        beaten=beaten(method, summary.methods),
        steady=steady,
        helpful=helpful[:SHOWN],
        harmful=harmful[:SHOWN],
    )


def all_ends(found: list[Ends], summary: InfluenceSummary, direction: str) -> dict[str, object]:
    """Return the fields of `AllEnds`."""
    return {
        "methods": found,
        "scale": trust_scale(summary),
        "ceiling": summary.proof.ceiling if summary.proof else None,
        "direction": direction,
        "note": _note(summary) if any(m.verified for m in found) else UNVERIFIED,
    }


def _note(summary: InfluenceSummary) -> str:
    known = summary.proof is not None and summary.proof.ceiling is not None
    return VERIFIED + (", and the dashed tick is what a perfect attribution would reach." if known else ".")


def training_thumb(row: int, label: int, score: float, reader: RunReader) -> Thumb:
    """Return the picture of a training image with its label and score; it leads to the image's own page."""
    name = class_name(reader, label)
    return Thumb(
        src=reader.picture(row),
        alt=f"Training image labelled {name}, score {signed(score)}",
        text=f"{name}\n{signed(score)}",
        href=reader.link(Subject("training_image", reader.run_id, row=row)),
    )


def signed(score: float) -> str:
    """Return a score with its sign and two digits that count, never as a power of ten."""
    digits = np.format_float_positional(abs(score), precision=2, fractional=False, trim="-")
    return f"{'−' if score < 0 else '+'}{digits}"


def class_name(reader: RunReader, label: int) -> str:
    """Return a class's name in words."""
    return reader.classes[label] if 0 <= label < len(reader.classes) else "no label"


def evidence(method: MethodSummary) -> str:
    """Return what is known of a method's worth in this run, in words."""
    if method.lds is None:
        return "unverified"
    return f"linear datamodelling score {method.lds:.2f} [{method.low:.2f}, {method.high:.2f}]"


def worth(method: MethodSummary, summary: InfluenceSummary) -> str:
    """Return the same as a sentence, with its n, for what stands under a single method's name."""
    if method.lds is None:
        return "Unverified: no model was retrained without them, so nothing shows that they matter."
    asked = summary.proof.targets if summary.proof else summary.targets
    known = f"Trust: {evidence(method)}, n = {asked:,} audited images"
    return known + ("; no better than plain similarity." if beaten(method, summary.methods) else ".")


def estimate(method: MethodSummary, summary: InfluenceSummary) -> Estimate | None:
    """Return a method's linear datamodelling score; its n are the images that the retrained networks were asked."""
    if method.lds is None:
        return None
    asked = summary.proof.targets if summary.proof else summary.targets
    return Estimate(value=method.lds, low=method.low, high=method.high, n=asked)


def beaten(method: MethodSummary, methods: Sequence[MethodSummary]) -> bool:
    """Whether the baseline's measured score is at least as good."""
    baseline = next((m.lds for m in methods if m.method == BASELINE), None)
    return baseline is not None and method.lds is not None and method.method != BASELINE and method.lds <= baseline


def trust_scale(summary: InfluenceSummary) -> tuple[float, float]:
    """From 0, or the tenth below the lowest whisker, to the tenth above the highest whisker or the ceiling."""
    ceiling = summary.proof.ceiling if summary.proof else None
    bounds = [b for m in summary.methods for b in (m.low, m.high, m.lds) if b is not None]
    bounds += [ceiling] if ceiling is not None else []
    low, high = min([0.0, *bounds]), max(bounds, default=1.0)
    return math.floor(10 * low) / 10, max(min(1.0, math.ceil(10 * high) / 10), 0.1)
