"""A training image: what is known of its label and its copies, and which audited images it helps and hurts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader
from app.audits.influence.page_ends import AllEnds, Ends, all_ends, class_name, ends, signed
from app.audits.influence.page_means import bounded, half_widths, mistakes
from app.audits.influence.ranking import ranked
from app.audits.influence.schema import METHODS, InfluenceSummary, MethodSummary
from app.audits.pieces import Thumb
from app.errors import NotFound

DIRECTION = (
    "Training on it speaks for the true class of the audited images that it helps (+), and against that of those "
    "that it hurts (−)."
)


class Fact(BaseModel):
    """One thing that is known of a training image."""

    name: str
    value: str
    note: str = Field("", description="What it means, in a sentence.")


class TrainFacts(BaseModel):
    """What is known of a training image."""

    facts: list[Fact]


class TrainInfluence(AllEnds):
    """Audited images that a training image helps and hurts, by each method, the most trusted first."""


def train_panels(row: int, summary: InfluenceSummary, reader: RunReader) -> list[Panel]:
    """Return the panels of a training image, by its data set row; none where it is not in the training split."""
    train = reader.table("influence", "attribute", "train")
    place = _place(train, row)
    if place is None:
        return []
    found = [_felt(m, summary, place, reader) for m in ranked(summary.methods) if not m.reason]
    shown = [one for one in found if one is not None]
    context = TrainInfluence.model_validate(all_ends(shown, summary, DIRECTION))
    helped = Panel("influence-felt", "Whom it helps and whom it hurts", "influence/train.html", context, 30)
    facts = TrainFacts(facts=_facts(train, place, row, summary, reader))
    known = Panel("influence-facts", "What is known of it", "influence/facts.html", facts, 20)
    return ([known] if facts.facts else []) + ([helped] if shown else [])


def _place(table: pa.Table, row: int) -> int | None:
    rows = table["row"].to_numpy()
    place = int(np.searchsorted(rows, row))
    return place if place < len(rows) and rows[place] == row else None


def _felt(method: MethodSummary, summary: InfluenceSummary, place: int, reader: RunReader) -> Ends | None:
    try:
        places, scores = (
            reader.array("influence", "attribute", f"{method.method}.{part}")[place] for part in ("felt", "felt_scores")
        )
    except NotFound:
        # A run from before these lists were kept.
        return None
    half = len(places) // 2
    return ends(
        method,
        summary,
        _thumbs(places[:half], scores[:half], 1, reader),
        _thumbs(places[half:][::-1], scores[half:][::-1], -1, reader),
    )


def _thumbs(places: np.ndarray, scores: np.ndarray, sign: int, reader: RunReader) -> list[Thumb]:
    """Pictures of audited images whose score has that sign."""
    kept = sign * scores > 0
    shown = zip(reader.thumbs(places[kept].tolist(), named=True), scores[kept].tolist(), strict=True)
    return [_told(thumb, score) for thumb, score in shown if thumb]


def _told(thumb: Thumb, score: float) -> Thumb:
    text = f"{thumb.text}\n{signed(score)}"
    return thumb.model_copy(update={"text": text, "alt": f"{thumb.alt}, score {signed(score)}"})


def _facts(train: pa.Table, place: int, row: int, summary: InfluenceSummary, reader: RunReader) -> list[Fact]:
    found = []
    best = next((m for m in ranked(summary.methods) if not m.reason), None)
    if best is not None:
        found.append(_mean(train, best, summary, place))
    try:
        suspects = reader.table("influence", "suspects", "suspects")
    except NotFound:
        return found
    own = _place(suspects, row)
    return found if own is None else [*_judged(suspects, own, reader), *found, *_twins(suspects, own)]


def _mean(train: pa.Table, method: MethodSummary, summary: InfluenceSummary, place: int) -> Fact:
    scores, half = train[f"{method.method}.wrong"].to_numpy(), half_widths(train, method.method)
    return Fact(
        name="On mistakes",
        value=bounded(float(scores[place]), float(half[place])),
        note=f"by {METHODS[method.method].title}, mean score over {mistakes(summary)}; "
        f"place {1 + int((scores < scores[place]).sum()):,} of {len(scores):,}, the most harmful first",
    )


def _judged(table: pa.Table, place: int, reader: RunReader) -> list[Fact]:
    found = []
    if "label_quality" in table.column_names:
        quality, likelier = float(table["label_quality"][place].as_py()), int(table["likelier"][place].as_py())
        named = bool(table["mislabelled"][place].as_py())
        found.append(Fact(name="Label", value=_label(named, likelier, table, place, reader), note=_quality(quality)))
    if "self_influence" in table.column_names:
        own = table["self_influence"].to_numpy()
        rank = f"place {1 + int((own > own[place]).sum()):,} of {len(own):,}, those that lean most on themselves first"
        found.append(Fact(name="Self-influence", value=f"{own[place]:.2g}", note=rank))
    return found


def _label(named: bool, likelier: int, table: pa.Table, place: int, reader: RunReader) -> str:
    if likelier == int(table["label"][place].as_py()):
        return "its neighbours agree with it"
    return f"{'probably wrong, ' if named else ''}looks like {class_name(reader, likelier)}"


def _quality(quality: float) -> str:
    return f"label quality {quality:.2f} of 1: the neighbours' vote for the label that it has"


def _twins(table: pa.Table, place: int) -> list[Fact]:
    copies = int(table["copies"][place].as_py())
    conflict, leaked = (bool(table[name][place].as_py()) for name in ("conflict", "leaked"))
    found = []
    if copies:
        note = "with another label on one of them" if conflict else ""
        found.append(Fact(name="Copies", value=f"{copies:,} in the training split", note=note))
    if leaked:
        note = "accuracy on that picture is partly memory"
        found.append(Fact(name="Leak", value="also in the audited split", note=note))
    return found
