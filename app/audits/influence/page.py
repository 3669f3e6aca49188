"""Panels of the kind `influence`: what training did for a prediction, and how far to trust that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.audits.base import Panel, RunReader, Subject
from app.audits.influence.page_effects import compared_panel, effects_panel
from app.audits.influence.page_ends import AllEnds, Ends, all_ends, ends, training_thumb
from app.audits.influence.page_run import run_context
from app.audits.influence.page_slice import behind, behind_panel
from app.audits.influence.page_stability import Steadiness, steadiness
from app.audits.influence.page_train import train_panels
from app.audits.influence.ranking import ranked
from app.audits.influence.schema import STABLE, InfluenceSummary, MethodSummary

DIRECTION = (
    "A helpful training image (+) speaks for this image’s true class, a harmful one (−) against it; without a "
    "label, the predicted class takes its place."
)


class ImageInfluence(AllEnds):
    """Training images behind a prediction, by each method, the most trusted first."""


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    raw = reader.summary("influence")
    if not raw:
        return []
    summary = InfluenceSummary.model_validate(raw)
    if subject.type in {"run", "report"}:
        context = run_context(summary)
        return [Panel("influence", "Training data behind the predictions", "influence/run.html", context, 60)]
    return [] if summary.unavailable else _of_images(subject, summary, reader)


def _of_images(subject: Subject, summary: InfluenceSummary, reader: RunReader) -> list[Panel]:
    if subject.type == "image" and subject.row is not None:
        context = _image(subject.row - reader.split_start, summary, reader)
        return [Panel("influence-image", "Training images behind it", "influence/image.html", context, 40)]
    if subject.type == "slice" and subject.finding_id is not None:
        found = behind(subject, summary, reader)
        return [Panel("influence-behind", "Training images behind the slice", "influence/slice.html", found, 60)]
    if subject.type == "training_image" and subject.row is not None:
        return train_panels(subject.row, summary, reader)
    if subject.type == "training":
        return effects_panel(summary, reader)
    return []


def answer(action: str, result: Mapping[str, Any], reader: RunReader) -> Panel | None:
    """Return the panel that shows what a worker answered."""
    makers = {"behind_slice": behind_panel, "compare": compared_panel}
    return makers[action](result, reader) if action in makers else None


def _image(position: int, summary: InfluenceSummary, reader: RunReader) -> ImageInfluence:
    train = reader.table("influence", "attribute", "train")
    rows, labels = train["row"].to_numpy(), train["label"].to_numpy()
    usable = [m for m in ranked(summary.methods) if not m.reason]
    found = [_ends(m, summary, position, (rows, labels), reader) for m in usable]
    return ImageInfluence.model_validate(all_ends(found, summary, DIRECTION))


def _ends(
    method: MethodSummary,
    summary: InfluenceSummary,
    position: int,
    train: tuple[np.ndarray, np.ndarray],
    reader: RunReader,
) -> Ends:
    places, scores = (
        reader.array("influence", "attribute", f"{method.method}.{part}")[position] for part in ("rows", "scores")
    )
    found = [
        training_thumb(int(train[0][place]), int(train[1][place]), float(score), reader)
        for place, score in zip(places, scores, strict=True)
    ]
    half = len(found) // 2
    helpful = [thumb for thumb, score in zip(found[:half], scores[:half], strict=True) if score > 0]
    harmful = [thumb for thumb, score in zip(found[half:], scores[half:], strict=True) if score < 0]
    return ends(method, summary, helpful, harmful[::-1], _steady(method, summary, position, reader))


def _steady(method: MethodSummary, summary: InfluenceSummary, position: int, reader: RunReader) -> Steadiness | None:
    if summary.stability is None or method.method != STABLE:
        return None
    helpful, harmful = reader.array("influence", "attribute", f"{STABLE}.shared")[position].tolist()
    return steadiness((helpful, harmful), summary.stability)
