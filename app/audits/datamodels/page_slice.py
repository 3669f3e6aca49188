"""A slice: the training images that its members' datamodels lean on, on average, and predicted counterfactuals."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader
from app.audits.datamodels.kept import Group, KeptDatamodel, Mean, Rows
from app.audits.datamodels.page_ends import all_ends, computed, ends, thumbs
from app.audits.datamodels.page_what_if import COUNTS, AllWhatIf, Asked, groups_of, what_if
from app.audits.datamodels.read import read_model, read_train
from app.audits.datamodels.schema import LINEAR, DatamodelsSummary, FitSummary
from app.audits.influence.page_ends import AllEnds, Ends
from app.audits.pieces import Thumb

SLICES = "slices"
MEMBERS = "list_contains(slices, ?)"
"""Of the score table; asked with a slice's key."""
SLICES_SHOWN = 2


class SliceDatamodel(BaseModel):
    """What the retrained networks say of a slice."""

    missing: str = Field(description="Why there is nothing to show; empty where there is.")
    lead: str
    ends: AllEnds | None
    what_if: AllWhatIf | None


def slice_panel(finding_id: int, summary: DatamodelsSummary, reader: RunReader) -> list[Panel]:
    """Return the panel of a slice; none for a slice that the score table does not know."""
    found = reader.findings(SLICES, id=finding_id)
    members = reader.count(MEMBERS, [found[0].key]) if found else 0
    if not members:
        return []
    context = _context(found[0].key, found[0].class_index, members, summary, reader)
    title = "What retrained networks say of the slice"
    return [Panel("datamodels-slice", title, "datamodels/slice.html", context, 62)]


def behind_slices(row: int, model: KeptDatamodel, reader: RunReader) -> list[Asked]:
    """For each slice that an image is in, the images that the slice leans on most, without the image's own say."""
    found = reader.scores("row = ?", [row], limit=1, wide=True)
    keys = list(found[0].get("slices") or []) if found else []
    groups = []
    for key in keys[:SLICES_SHOWN]:
        columns, named = asked_members(key, model, reader), reader.findings(SLICES, key=key)
        columns = columns[model.targets[columns] != row - reader.split_start]
        if len(columns) and named:
            group = Group(model.mean(columns).top(COUNTS[1]))
            title = f"Without the {len(group.rows)} most helpful of “{named[0].title or key}”"
            groups.append(Asked(title, group))
    return groups


def asked_members(key: str, model: KeptDatamodel, reader: RunReader) -> Rows:
    """Columns of the targets that a slice holds."""
    rows = (model.targets + reader.split_start).tolist()
    found = reader.scores(f"row IN (SELECT unnest(?)) AND {MEMBERS}", [rows, key], limit=len(rows))
    return model.columns_of(np.array([row["row"] - reader.split_start for row in found], np.int64))


def _context(key: str, own: int | None, members: int, summary: DatamodelsSummary, reader: RunReader) -> SliceDatamodel:
    assert summary.best is not None
    model = read_model(summary.best, summary, reader)
    columns = asked_members(key, model, reader)
    if not len(columns):
        missing = (
            f"None of the slice’s {members:,} images is among the {summary.targets:,} that the retrained networks "
            "were asked about; an audit with more `targets` asks more of them."
        )
        return SliceDatamodel(missing=missing, lead="", ends=None, what_if=None)
    train = read_train(reader)
    methods = [(m, read_model(m.method, summary, reader)) for m in computed(summary, LINEAR) if m.method in LINEAR]
    shown = [_ends(m, kept.mean(columns), summary, train, reader) for m, kept in methods]
    mean = model.mean(columns)
    return SliceDatamodel(
        missing="",
        lead=f"Mean over the {len(columns):,} of the slice’s {members:,} images that have a datamodel.",
        ends=all_ends(shown, summary),
        what_if=what_if(mean, groups_of(mean, train[1], own, reader), f"the mean of these {len(columns):,} images"),
    )


def _ends(
    method: FitSummary, mean: Mean, summary: DatamodelsSummary, train: tuple[np.ndarray, np.ndarray], reader: RunReader
) -> Ends:
    helpful, harmful = (_thumbs(mean, rows, train, reader) for rows in (mean.top(12), mean.bottom(12)))
    return ends(method, summary, helpful, harmful)


def _thumbs(mean: Mean, places: np.ndarray, train: tuple[np.ndarray, np.ndarray], reader: RunReader) -> list[Thumb]:
    return thumbs(train[0][places].tolist(), train[1][places].tolist(), mean.weights[places].tolist(), reader)
