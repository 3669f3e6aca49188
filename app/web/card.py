"""Panels of a run that come from no kind: accuracy and calibration, and the box for questions."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import BaseModel, Field

from app import audits
from app.audits.pieces import Estimate
from app.web.forms import Form


class Bin(BaseModel):
    """Images whose confidence lies within one step."""

    low: float
    high: float
    confidence: float = Field(description="Their mean confidence.")
    accuracy: Estimate


class Card(BaseModel):
    """Accuracy and calibration of the audited split."""

    accuracy: Estimate | None
    error: Estimate | None = Field(description="Expected calibration error: mean gap of confidence and accuracy.")
    bins: list[Bin]
    not_judged: int = Field(description="Images without a label or without an output.")
    sentence: str


class AskBox(BaseModel):
    """A claim in words, to be tested."""

    href: str
    classes: list[tuple[str, str]] = Field(description="Index and name.")
    form: Form


class CardReader(Protocol):
    """What the card needs of a reader; a report's reader has it as well."""

    run_id: int

    def summary(self, kind: str) -> dict[str, Any]:
        """Return a summary; “card” is the report card's."""


class AskReader(Protocol):
    """What the box needs of a reader."""

    run: Any
    run_id: int
    classes: Any


def card(reader: CardReader) -> Card | None:
    """Return the report card; none where the run has none."""
    found = reader.summary("card")
    if not found:
        return None
    calibration = found.get("calibration") or {}
    error = None
    if calibration:
        error = Estimate(
            value=calibration["ece"], low=calibration.get("low"), high=calibration.get("high"), n=calibration["n"]
        )
    return Card(
        accuracy=_estimate(found.get("accuracy")),
        error=error,
        bins=[
            Bin(**{name: entry[name] for name in ("low", "high", "confidence")}, accuracy=_sure(entry["accuracy"]))
            for entry in calibration.get("bins", [])
        ],
        not_judged=found.get("not_judged", 0),
        sentence=_sentence(calibration.get("bins", [])),
    )


def ask_box(reader: AskReader, form: Form | None = None) -> AskBox:
    """Return the box for questions."""
    classes = [(str(index), name) for index, name in enumerate(reader.classes)]
    return AskBox(href=f"/runs/{reader.run_id}/ask", classes=classes, form=form or Form())


def answering(reader: AskReader, action: str) -> list[str]:
    """Return the run's kinds that answer the question of that name."""
    known = audits.kinds()
    return [name for name in reader.run.kinds if name in known and action in {a.name for a in known[name].actions}]


def _sentence(bins: list[dict[str, Any]]) -> str:
    n = sum(entry["accuracy"]["n"] for entry in bins)
    if not n:
        return ""
    gap = sum(entry["accuracy"]["n"] * (entry["confidence"] - entry["accuracy"]["value"]) for entry in bins) / n
    if abs(gap) < 0.01:
        return "On average it is as right as it is confident."
    side = "more confident than it is right" if gap > 0 else "less confident than it is right"
    points = round(100 * abs(gap))
    return f"On average it is {points} {'point' if points == 1 else 'points'} {side}."


def _estimate(rate: dict[str, Any] | None) -> Estimate | None:
    return _sure(rate) if rate else None


def _sure(rate: dict[str, Any]) -> Estimate:
    return Estimate(value=rate["value"], low=rate["low"], high=rate["high"], n=rate["n"])
