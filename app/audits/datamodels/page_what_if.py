"""Predicted counterfactuals as pages draw them: the log-odds without some training images, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from app.audits.base import RunReader
from app.audits.datamodels.kept import Group, Mean
from app.audits.influence.page_ends import class_name, signed
from app.audits.pieces import Estimate

_NORMAL = 1.96
COUNTS = (10, 50)
CLASSES_SHOWN = 2


class Asked(NamedTuple):
    """Training images that a page asks about; `keep`: nothing else is kept."""

    title: str
    group: Group
    keep: bool = False


class WhatIf(BaseModel):
    """One predicted counterfactual."""

    title: str
    images: int
    margin: Estimate = Field(description="Predicted log-odds; the interval is where held-out networks would lie.")
    change: str = Field(description="Against all images, with its sign.")
    turns: bool = Field(description="Whether the prediction is expected to turn.")
    came: Estimate | None = Field(None, description="Mean log-odds of networks that were trained so.")


class AllWhatIf(BaseModel):
    """Predicted counterfactuals on one scale."""

    rows: list[WhatIf]
    scale: tuple[float, float]
    note: str


def what_if(mean: Mean, asked: Sequence[Asked], about: str) -> AllWhatIf:
    """Predict each group's counterfactual; groups without an image are left out. `about` says what the n are."""
    every = Asked("All training images", Group(np.zeros(0, np.int64)))
    rows = [_row(mean, one) for one in (every, *asked) if one is every or len(one.group.rows)]
    return AllWhatIf(rows=rows, scale=_scale(rows), note=_note(mean, about))


def groups_of(mean: Mean, labels: np.ndarray, own: int | None, reader: RunReader) -> list[Asked]:
    """The images that help and harm most, and whole classes: the own one, and those that weigh most."""
    few, many = (Group(mean.top(count)) for count in COUNTS)
    found = [Asked(f"Without its {len(few.rows)} most helpful", few)]
    if len(many.rows) > 2 * len(few.rows):
        found.append(Asked(f"Without its {len(many.rows)} most helpful", many))
    worst = Group(mean.bottom(COUNTS[0]))
    found.append(Asked(f"Without its {len(worst.rows)} most harmful", worst))
    others = [c for c in np.argsort(-np.abs(mean.by_class(labels)), kind="stable").tolist() if c != own]
    mine = [] if own is None or own < 0 else [own]
    for index in mine + others[:CLASSES_SHOWN]:
        found.append(Asked(f"Without any “{class_name(reader, index)}”", _of_class(labels, index)))
    return found + [Asked(f"Only “{class_name(reader, c)}” kept", _of_class(labels, c), keep=True) for c in mine]


def _of_class(labels: np.ndarray, index: int) -> Group:
    return Group(np.flatnonzero(labels == index), index)


def proved(shown: AllWhatIf, predictions: pa.Table | None, target: int) -> AllWhatIf:
    """Add what came of retraining, where this prediction was put to the proof."""
    if predictions is None:
        return shown
    tried = [row for row in predictions.to_pylist() if row["target"] == target and row["after"] is not None]
    rows = shown.rows + [_tried(row, shown.rows[0]) for row in tried]
    return shown.model_copy(update={"rows": rows, "scale": _scale(rows)})


_TRIED = {
    "datamodel": "Retrained without the {} most helpful",
    "similarity": "Retrained without the {} most similar",
    "random": "Retrained without {} random ones of its class",
}


def _tried(row: dict[str, float], every: WhatIf) -> WhatIf:
    predicted = every.margin.value - row["predicted"]
    reach = every.margin.value - (every.margin.low if every.margin.low is not None else every.margin.value)
    networks = int(row["networks"])
    around = None if row["spread"] is None else _NORMAL * row["spread"] / math.sqrt(networks)
    came = row["after"]
    return WhatIf(
        title=_TRIED[str(row["removed"])].format(row["images"]),
        images=int(row["images"]),
        margin=Estimate(value=predicted, low=predicted - reach, high=predicted + reach, n=every.margin.n),
        change=signed(-row["predicted"]),
        turns=predicted < 0 <= every.margin.value,
        came=Estimate(
            value=came,
            low=None if around is None else came - around,
            high=None if around is None else came + around,
            n=networks,
        ),
    )


def _row(mean: Mean, asked: Asked) -> WhatIf:
    group, whole, reach = asked.group, mean.everything(), _NORMAL * mean.error
    value = mean.only(group) if asked.keep else mean.without(group)
    return WhatIf(
        title=asked.title,
        images=len(group.rows),
        margin=Estimate(value=value, low=value - reach, high=value + reach, n=mean.subsets),
        change=signed(value - whole) if len(group.rows) else "",
        turns=value < 0 <= whole or whole < 0 <= value,
    )


def _scale(rows: Sequence[WhatIf]) -> tuple[float, float]:
    shown = [e for row in rows for e in (row.margin, row.came) if e is not None]
    bounds = [b for e in shown for b in (e.value, e.low, e.high) if b is not None]
    return math.floor(min([0.0, *bounds])), math.ceil(max([1.0, *bounds]))


def _note(mean: Mean, about: str) -> str:
    return (
        f"Log-odds of the true class that the datamodel predicts for {about}; below zero, at the dashed tick, the "
        f"prediction is another class. The whisker holds 95 % of what held-out networks gave: measured on "
        f"{mean.subsets:,} random parts of the training data that no fit saw (±{_NORMAL * mean.error:.2f}). "
        "Leaving few images out of all, or keeping few, lies outside of those parts: the line is carried on."
    )
