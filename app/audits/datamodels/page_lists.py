"""The lists of the page of training data: images that networks memorise, that harm, and that lower the accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.audits.base import RunReader, TrainingList
from app.audits.datamodels.read import KIND, read_summary, read_table
from app.audits.datamodels.schema import METHODS, DatamodelsSummary, baseline_of
from app.audits.influence.page_ends import signed

MOST = 5_000
LEAST_WEIGHT = 0.1
STRONG = 1.0
_SURE = 2.0
"""Standard errors."""


def training_lists(reader: RunReader) -> list[TrainingList]:
    """Return the lists of a run; none where nothing was retrained or valued."""
    summary = read_summary(reader)
    found = [
        _memorised(read_table(reader, "memorise", "train")),
        None if summary is None else _harmful(reader.table(KIND, "fit", "train"), summary),
        _worthless(read_table(reader, "value", "values")),
    ]
    return [one for one in found if one is not None]


def _memorised(table: pa.Table | None) -> TrainingList | None:
    if table is None:
        return None
    value, error = (_filled(table, name) for name in ("memorisation", "error"))
    order = np.argsort(-value, kind="stable")
    order = order[value[order] - _SURE * error[order] > STRONG][:MOST]
    inside, outside = table["inside"].to_numpy(), table["outside"].to_numpy()
    counts = [f"n {inside[i]:,} / {outside[i]:,}".replace(" ", "\N{NO-BREAK SPACE}") for i in order]
    notes = [f"{signed(value[i])} ± {error[i]:.2g}, {n}" for i, n in zip(order, counts, strict=True)]
    text = (
        "Networks that never saw the image give its label at least 1 log-odds less than those that did, beyond two "
        "standard errors. Beside each: the difference, its standard error, and how many networks saw it and did not. "
        "Wrong labels and rare cases stand here side by side; look before you drop."
    )
    weight = np.clip(1 - value / max(float(np.nanmax(value, initial=0.0)), 1e-12), LEAST_WEIGHT, 1)
    made = _table(table, order, -value, notes, "weight", weight)
    return TrainingList("memorised-retrained", "Memorised, by retraining", text, made)


def _harmful(table: pa.Table, summary: DatamodelsSummary) -> TrainingList:
    assert summary.best is not None
    value, error = (_filled(table, f"{summary.best}.{name}") for name in ("wrong", "wrong_error"))
    order = np.argsort(value, kind="stable")
    order = order[value[order] + _SURE * error[order] < 0][:MOST]
    notes = [f"{signed(value[i])} ± {error[i]:.2g}" for i in order]
    lds = next(m.lds for m in summary.methods if m.method == summary.best)
    baseline = baseline_of(summary.methods)
    doubt = " Plain similarity predicts no worse in this run." if lds and baseline and baseline >= lds else ""
    text = (
        f"By {METHODS[summary.best].title}: mean weight on the model’s mistakes among {summary.targets:,} audited "
        "images, below zero by more than two standard errors over them. Its linear datamodelling score on networks "
        f"that no fit saw is {lds:.2f}.{doubt}"
    )
    return TrainingList(
        "harmful-retrained", "Harmful, by datamodels", text, _table(table, order, value, notes, "drop", None)
    )


def _worthless(table: pa.Table | None) -> TrainingList | None:
    if table is None:
        return None
    value, error = (_filled(table, name) for name in ("value", "error"))
    order = np.argsort(value, kind="stable")
    order = order[value[order] + _SURE * error[order] < 0][:MOST]
    notes = [f"{signed(100 * value[i])} ± {100 * error[i]:.2g} points" for i in order]
    text = (
        "Data Shapley of the last layer, below zero by more than two standard errors: on average over random orders "
        "the accuracy on audited images falls when the image is added."
    )
    return TrainingList("shapley", "Negative value", text, _table(table, order, value, notes, "drop", None))


def _filled(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column with NaN where there is no value; comparisons with it are false."""
    found: NDArray[np.float64] = table[name].to_numpy().astype(np.float64)
    return found


def _table(
    source: pa.Table,
    order: NDArray[np.int64],
    score: NDArray[np.float64],
    notes: Sequence[str],
    action: str,
    weight: NDArray[np.float64] | None,
) -> pa.Table:
    n = len(order)
    return pa.table(
        {
            "row": source["row"].to_numpy()[order].astype(np.int64),
            "label": source["label"].to_numpy()[order].astype(np.int32),
            "score": score[order],
            "note": pa.array(notes, pa.string()),
            "action": pa.array([action] * n, pa.string()),
            "new_label": np.full(n, -1, np.int32),
            "weight": np.zeros(n) if weight is None else weight[order],
        }
    )
