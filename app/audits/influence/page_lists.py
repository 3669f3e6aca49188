"""The lists of the page of training data: harmful, mislabelled, memorised, copied and leaked images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.audits.base import RunReader, TrainingList
from app.audits.influence.page_ends import worth
from app.audits.influence.page_means import bounded, half_widths, mistakes
from app.audits.influence.ranking import ranked
from app.audits.influence.schema import METHODS, InfluenceSummary, SuspectsSummary
from app.errors import NotFound

MOST = 5_000
"""Entries of a ranking that has no natural end."""
LEAST_WEIGHT = 0.1


def training_lists(reader: RunReader) -> list[TrainingList]:
    """Return the lists of a run; none where nothing was attributed."""
    summary = InfluenceSummary.model_validate(reader.summary("influence") or {})
    if summary.unavailable or not summary.train_rows:
        return []
    found = [_harmful(reader, summary)]
    try:
        suspects = reader.table("influence", "suspects", "suspects")
    except NotFound:
        return [one for one in found if one is not None]
    makers = (_mislabelled, _memorised, _conflicting, _leaked)
    found += [make(suspects, summary.suspects, reader.classes) for make in makers]
    return [one for one in found if one is not None]


def _harmful(reader: RunReader, summary: InfluenceSummary) -> TrainingList | None:
    method = next((m for m in ranked(summary.methods) if not m.reason), None)
    if method is None:
        return None
    table = reader.table("influence", "attribute", "train")
    score, half = table[f"{method.method}.wrong"].to_numpy().astype(np.float64), half_widths(table, method.method)
    below = score + np.nan_to_num(half) < 0
    order = np.flatnonzero(below)
    order = order[np.argsort(score[order], kind="stable")][:MOST]
    text = (
        f"By {METHODS[method.method].title}: mean score over {mistakes(summary)} and its 95 % interval, lowest first. "
        f"{_part(int(below.sum()), len(table))} lie below zero with their whole interval"
        + (f"; the lowest {MOST:,} stand here. " if below.sum() > MOST else ". ")
        + worth(method, summary)
    )
    notes = [bounded(*pair) for pair in zip(score[order].tolist(), half[order].tolist(), strict=True)]
    return TrainingList("harmful", "Harmful", text, _table(table, order, score, notes, "drop"))


def _mislabelled(table: pa.Table, summary: SuspectsSummary, classes: Sequence[str]) -> TrainingList | None:
    if "label_quality" not in table.column_names:
        return None
    quality, named = table["label_quality"].to_numpy(), table["mislabelled"].to_numpy(zero_copy_only=False)
    order = np.flatnonzero(named)
    order = order[np.argsort(quality[order], kind="stable")]
    likelier = table["likelier"].to_numpy()
    notes = [f"looks like {_name(classes, int(likelier[i]))}" for i in order]
    text = (
        f"{_part(len(order), len(table))} by confident learning over the nearest images of each. As a test, "
        f"{summary.planted:,} wrong labels were planted: it named {summary.planted_named:,} of them"
        f"{_found(summary)}; {summary.planted_in_worst:,} stand in the worst "
        "fifth of all."
    )
    made = _table(table, order, quality, notes, "relabel", new_label=likelier)
    return TrainingList("mislabelled", "Probably mislabelled", text, made)


def _memorised(table: pa.Table, _summary: SuspectsSummary, _classes: Sequence[str]) -> TrainingList | None:
    if "self_influence" not in table.column_names:
        return None
    own = table["self_influence"].to_numpy().astype(np.float64)
    order = np.argsort(-own, kind="stable")[: max(1, min(MOST, len(own) // 20))]
    notes = [f"self-influence {value:.3g}" for value in own[order]]
    text = (
        f"{_part(len(order), len(own))}, those that lean most on themselves: nothing else supports what the model says "
        "of them. Wrong labels and rare cases stand here side by side; look before you drop. The proposed weight is 1 "
        f"less the share of the largest self-influence, at least {LEAST_WEIGHT:g}."
    )
    weight = np.clip(1 - own / max(float(own.max()), 1e-12), LEAST_WEIGHT, 1)
    made = _table(table, order, -own, notes, "weight", weight=weight)
    return TrainingList("memorised", "Memorised", text, made)


def _conflicting(table: pa.Table, _summary: SuspectsSummary, _classes: Sequence[str]) -> TrainingList:
    copies, conflict = table["copies"].to_numpy(), table["conflict"].to_numpy(zero_copy_only=False)
    order = np.flatnonzero(copies > 0)
    order = order[np.lexsort((-copies[order], ~conflict[order]))]
    notes = [
        ("another label on the same picture" if conflict[i] else "the same picture again")
        + (f", {copies[i]} copies" if copies[i] > 1 else "")
        for i in order
    ]
    text = (
        f"{_part(len(order), len(table))} are there more than once, {int(conflict.sum()):,} of them with different "
        "labels; these come first."
    )
    return TrainingList("duplicated", "Duplicated", text, _table(table, order, -copies.astype(float), notes, "drop"))


def _leaked(table: pa.Table, _summary: SuspectsSummary, _classes: Sequence[str]) -> TrainingList:
    order = np.flatnonzero(table["leaked"].to_numpy(zero_copy_only=False))
    text = (
        f"{_part(len(order), len(table))} are in the audited split as well: the accuracy measured on these pictures is "
        "partly memory."
    )
    score = np.zeros(len(table))
    notes = ["also in the audited split"] * len(order)
    return TrainingList("leaked", "Leaked", text, _table(table, order, score, notes, "drop"))


def _table(
    source: pa.Table,
    order: NDArray[np.int64],
    score: NDArray[np.float64],
    notes: Sequence[str],
    action: str,
    *,
    new_label: NDArray[np.int64] | None = None,
    weight: NDArray[np.float64] | None = None,
) -> pa.Table:
    n = len(order)
    default = 0.0 if action == "drop" else 1.0
    return pa.table(
        {
            "row": source["row"].to_numpy()[order].astype(np.int64),
            "label": source["label"].to_numpy()[order].astype(np.int32),
            "score": score[order].astype(np.float64),
            "note": pa.array(notes, pa.string()),
            "action": pa.array([action] * n, pa.string()),
            "new_label": (np.full(n, -1) if new_label is None else new_label[order]).astype(np.int32),
            "weight": np.full(n, default) if weight is None else weight[order],
        }
    )


def _part(count: int, of: int) -> str:
    """How many of all training images."""
    return f"{count:,} of {of:,} training images ({100 * count / max(of, 1):.1f} %)"


def _found(summary: SuspectsSummary) -> str:
    """The share of planted labels that were named, with its interval, in brackets; nothing of nothing."""
    if not summary.planted:
        return ""
    share = summary.planted_named / summary.planted
    return f" ({100 * share:.0f} %, 95 % interval {100 * summary.planted_low:.0f}–{100 * summary.planted_high:.0f} %)"


def _name(classes: Sequence[str], index: int) -> str:
    return classes[index] if 0 <= index < len(classes) else "another class"
