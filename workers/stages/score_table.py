"""One row per example of the audited split: what the model said of it, and what each kind did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.audits.base import FindingDraft, Split
from workers.stages import results

_BLOCK = 65_536
OURS = ("row", "example_id", "split", "label", "prediction", "confidence", "p_true", "correct", "slices")
"""Columns that no kind can set; every table has these, and `role` and `decision`, null where no kind gives them."""


@dataclass(frozen=True)
class Outcomes:
    """What the model said, row by row; values of rows that are not labelled or not audited mean nothing."""

    labels: NDArray[np.int32]
    """Model's numbering; −1 where there is none, or the row is not audited."""
    prediction: NDArray[np.int32]
    confidence: NDArray[np.float32]
    """Largest softmax probability."""
    p_true: NDArray[np.float32]
    """Softmax probability of the label."""

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Rows that have both a label and an output."""
        return np.asarray(self.labels >= 0)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is the label."""
        return np.asarray(self.prediction == self.labels)


def outcomes(split: Split) -> Outcomes:
    """Reduce the logits [n, C] to what the score table holds, block by block."""
    labels = split.manifest["label"].to_numpy().astype(np.int32)
    n = len(labels)
    prediction = np.full(n, -1, np.int32)
    confidence, p_true = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    if split.logits is not None:
        for start in range(0, n, _BLOCK):
            rows = slice(start, min(start + _BLOCK, n))
            p = _softmax(np.asarray(split.logits[rows], dtype=np.float64))
            prediction[rows], confidence[rows] = p.argmax(1), p.max(1)
            p_true[rows] = p[np.arange(len(p)), labels[rows]]
    return Outcomes(labels, prediction, confidence, p_true)


def score_table(split: Split, found: Outcomes, folders: Mapping[str, Path], drafts: Sequence[FindingDraft]) -> pa.Table:
    """Return the table of scores.parquet; `folders` are the results of the kinds' stages by `<kind>:<stage>`."""
    extra = _kind_columns(folders)
    judged, n = found.judged, len(found.labels)
    columns = {
        "row": split.manifest["row"],
        "example_id": split.manifest["example_id"],
        "split": pa.array([split.name], pa.string()).take(pa.array(np.zeros(n, np.int64))),
        "role": extra.pop("role", pa.nulls(n, pa.string())),
        "label": pa.array(found.labels, pa.int32(), mask=~judged),
        "prediction": pa.array(found.prediction, pa.int32(), mask=found.prediction < 0),
        "confidence": results.column(found.confidence),
        "p_true": pa.array(found.p_true, pa.float32(), mask=~judged | np.isnan(found.p_true)),
        "correct": pa.array(found.correct, pa.bool_(), mask=~judged | (found.prediction < 0)),
        "decision": extra.pop("decision", pa.nulls(n, pa.float32())),
        **extra,
        "slices": _memberships(drafts, n),
    }
    return pa.table(columns)


def _kind_columns(folders: Mapping[str, Path]) -> dict[str, pa.ChunkedArray]:
    """The score columns of all stages; a name that two kinds use gets the kind's name before it."""
    columns: dict[str, pa.ChunkedArray] = {}
    for line, folder in folders.items():
        for name, values in results.scores(folder).items():
            taken = name in columns or name in OURS
            columns[f"{line.partition(':')[0]}.{name}" if taken else name] = values
    return columns


def _memberships(drafts: Sequence[FindingDraft], n: int) -> pa.Array:
    """list<string>: keys of the findings whose rows hold each position."""
    members = [(draft.key, draft.rows) for draft in drafts if draft.rows is not None]
    names = pa.array([key for key, _ in members], pa.string())
    rows = np.concatenate([rows for _, rows in members] or [np.empty(0, np.int64)]).astype(np.int64)
    which = np.repeat(np.arange(len(members)), [len(rows) for _, rows in members])
    order = np.argsort(rows, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pc.take(names, pa.array(which[order])))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
