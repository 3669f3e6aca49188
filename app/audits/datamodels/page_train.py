"""A training image: what is known of it from networks that never saw it, and whom it helps and hurts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from app.audits.base import Panel, RunReader
from app.audits.datamodels.page_ends import FELT, SHOWN, all_ends, computed, ends
from app.audits.datamodels.read import KIND, read_model, read_table
from app.audits.datamodels.schema import LINEAR, METHODS, DatamodelsSummary, FitSummary
from app.audits.influence.page_ends import Ends, signed
from app.audits.influence.page_train import Fact, TrainFacts
from app.audits.pieces import Thumb

_NORMAL = 1.96


def train_panels(row: int, summary: DatamodelsSummary | None, reader: RunReader) -> list[Panel]:
    """Return the panels of a training image, by its data set row; none where it is not in the training split."""
    facts = _facts(row, summary, reader)
    title = "What retrained networks say of it"
    found = [Panel("datamodels-facts", title, "datamodels/facts.html", TrainFacts(facts=facts), 22)] if facts else []
    place = None if summary is None else _place(reader.table(KIND, "fit", "train"), row)
    if summary is None or place is None:
        return found
    methods = [m for m in computed(summary, LINEAR) if m.method in LINEAR]
    context = all_ends([_felt(m, place, summary, reader) for m in methods], summary, FELT)
    title = f"Whom it helps and hurts, of {summary.targets:,} images that networks were asked about"
    return [*found, Panel("datamodels-felt", title, "datamodels/felt.html", context, 32)]


def _felt(method: FitSummary, place: int, summary: DatamodelsSummary, reader: RunReader) -> Ends:
    assert method.method in LINEAR
    model = read_model(method.method, summary, reader)
    columns, weights = model.felt(place)
    order = np.argsort(-weights, kind="stable")
    high, low = (some[np.sign(weights[some]) == sign][:SHOWN] for some, sign in ((order, 1), (order[::-1], -1)))
    sides = [_thumbs(model.targets[columns[some]], weights[some], reader) for some in (high, low)]
    return ends(method, summary, *sides)


def _thumbs(positions: np.ndarray, weights: np.ndarray, reader: RunReader) -> list[Thumb]:
    shown = zip(reader.thumbs(positions.tolist()), weights.tolist(), strict=True)
    return [
        thumb.model_copy(update={"text": signed(weight), "alt": f"{thumb.alt}, weight {signed(weight)}"})
        for thumb, weight in shown
        if thumb
    ]


def _place(table: pa.Table, row: int) -> int | None:
    rows = table["row"].to_numpy()
    place = int(np.searchsorted(rows, row))
    return place if place < len(rows) and rows[place] == row else None


def _facts(row: int, summary: DatamodelsSummary | None, reader: RunReader) -> list[Fact]:
    makers = (("memorise", "train", _memorised), ("value", "values", _value))
    found = []
    for stage, name, make in makers:
        table = read_table(reader, stage, name)
        place = None if table is None else _place(table, row)
        if table is not None and place is not None:
            found += make(table, place)
    return found + _mean_weight(row, summary, reader)


def _memorised(table: pa.Table, place: int) -> list[Fact]:
    one = table.slice(place, 1).to_pylist()[0]
    if one["memorisation"] is None:
        return []
    value = signed(one["memorisation"]) + (f" ± {_NORMAL * one['error']:.2g}" if one["error"] is not None else "")
    note = (
        f"mean log-odds of its own label, {one['with']:.2f} by {one['inside']:,} networks that saw it and "
        f"{one['without']:.2f} by {one['outside']:,} that did not; 95 % interval"
    )
    return [Fact(name="Memorisation", value=value, note=note)]


def _value(table: pa.Table, place: int) -> list[Fact]:
    one = table.slice(place, 1).to_pylist()[0]
    value = f"{signed(100 * one['value'])} ± {100 * _NORMAL * one['error']:.2g} points"
    return [Fact(name="Data Shapley", value=value, note="of the last layer’s accuracy; 95 % interval")]


def _mean_weight(row: int, summary: DatamodelsSummary | None, reader: RunReader) -> list[Fact]:
    if summary is None or summary.best is None:
        return []
    table = reader.table(KIND, "fit", "train")
    place = _place(table, row)
    if place is None:
        return []
    one = table.slice(place, 1).to_pylist()[0]
    value, error = one[f"{summary.best}.mean"], one[f"{summary.best}.mean_error"]
    around = "" if error is None or not np.isfinite(error) else f" ± {_NORMAL * error:.2g}"
    note = f"over {summary.targets:,} audited images, by the {METHODS[summary.best].title.lower()}; 95 % interval"
    return [Fact(name="Mean weight", value=signed(value) + around, note=note)]
