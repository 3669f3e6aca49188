"""Panels of the kind `influence`: what training did for a prediction, and how far to trust that."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.influence.ranking import ranked
from app.audits.influence.schema import METHODS, InfluenceSummary, MethodSummary
from app.audits.pieces import Estimate, Thumb

SHOWN = 12
UNVERIFIED = "Unverified: no model was retrained without these images, so nothing shows that they matter."


class Ends(BaseModel):
    """A method's two ends for one image."""

    title: str
    scale: str = Field(description="What a score means.")
    verified: bool
    evidence: str = Field(description="What retraining said of the method, or that nothing was retrained.")
    helpful: list[Thumb]
    harmful: list[Thumb]


class ImageInfluence(BaseModel):
    """Training images behind a prediction, by each method, the most trusted first."""

    methods: list[Ends]
    note: str


class MethodRow(BaseModel):
    """A method as the run's page lists it."""

    title: str
    reason: str
    lds: Estimate | None
    evidence: str


class RunInfluence(BaseModel):
    """How training data was attributed in this run."""

    unavailable: str
    sentences: list[str]
    methods: list[MethodRow]


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    raw = reader.summary("influence")
    if not raw:
        return []
    summary = InfluenceSummary.model_validate(raw)
    if subject.type in {"run", "report"}:
        return [Panel("influence", "Training data behind the predictions", "influence/run.html", _run(summary), 60)]
    if subject.type == "image" and subject.row is not None and not summary.unavailable:
        context = _image(subject.row - reader.split_start, summary, reader)
        return [Panel("influence-image", "Training images behind it", "influence/image.html", context, 40)]
    return []


def _run(summary: InfluenceSummary) -> RunInfluence:
    sentences = [] if summary.unavailable else _sentences(summary)
    rows = [
        MethodRow(title=METHODS[m.method].title, reason=m.reason, lds=_estimate(m, summary), evidence=evidence(m))
        for m in ranked(summary.methods)
    ]
    return RunInfluence(unavailable=summary.unavailable, sentences=sentences, methods=rows)


def _sentences(summary: InfluenceSummary) -> list[str]:
    found = [f"Each of {summary.targets:,} audited images against {summary.train_rows:,} training images."]
    if summary.checkpoints:
        points = "one checkpoint" if summary.checkpoints == 1 else f"{summary.checkpoints} checkpoints"
        share = f"{100 * summary.coverage:.1f} % of the weights" if summary.coverage is not None else "the weights"
        found.append(f"Gradients were taken at {points}, of {share}; ridge {summary.ridge:g} × the mean eigenvalue.")
    return found


def _image(position: int, summary: InfluenceSummary, reader: RunReader) -> ImageInfluence:
    train = reader.table("influence", "attribute", "train")
    rows, labels = train["row"].to_numpy(), train["label"].to_numpy()
    usable = [m for m in ranked(summary.methods) if not m.reason]
    return ImageInfluence(
        methods=[_ends(m, position, (rows, labels), reader) for m in usable],
        note="" if any(m.verified == "verified" for m in usable) else UNVERIFIED,
    )


def _ends(method: MethodSummary, position: int, train: tuple[np.ndarray, np.ndarray], reader: RunReader) -> Ends:
    places, scores = (reader.array("influence", "attribute", f"{method.method}.{part}") for part in ("rows", "scores"))
    found = [
        _thumb(int(train[0][place]), int(train[1][place]), float(score), reader)
        for place, score in zip(places[position], scores[position], strict=True)
    ]
    text, half = METHODS[method.method], len(found) // 2
    helpful = [thumb for thumb, score in zip(found[:half], scores[position][:half], strict=True) if score > 0]
    harmful = [thumb for thumb, score in zip(found[half:], scores[position][half:], strict=True) if score < 0]
    return Ends(
        title=text.title,
        scale=text.scale,
        verified=method.verified == "verified",
        evidence=evidence(method),
        helpful=helpful[:SHOWN],
        harmful=harmful[::-1][:SHOWN],
    )


def _thumb(row: int, label: int, score: float, reader: RunReader) -> Thumb:
    name = reader.classes[label] if 0 <= label < len(reader.classes) else "no label"
    return Thumb(
        src=reader.picture(row), alt=f"Training image labelled {name}, score {score:+.3g}", text=f"{name} {score:+.2g}"
    )


def evidence(method: MethodSummary) -> str:
    """Return what is known of a method's worth in this run, in words."""
    if method.lds is None:
        return "unverified"
    return f"linear datamodelling score {method.lds:.2f} [{method.low:.2f}, {method.high:.2f}]"


def _estimate(method: MethodSummary, summary: InfluenceSummary) -> Estimate | None:
    if method.lds is None:
        return None
    return Estimate(value=method.lds, low=method.low, high=method.high, n=summary.targets)
