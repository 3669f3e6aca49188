"""Robustness of a run: how easily it breaks, where, and what is proven not to."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, Field

from app import audits
from app.audits.base import Subject
from app.audits.pieces import Estimate
from app.services.proportions import estimate
from app.web.deps import ProjectAccess
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader
from app.web.robustness import (
    Columns,
    Joint,
    Scorecard,
    Shape,
    accuracy,
    class_groups,
    columns_of,
    joint_classes,
    joint_slices,
    scorecard,
    slice_groups,
)
from app.web.twins import Pages

pages = Pages("Robustness")
MOST_CLASSES = 100_000
SHOWN = 25


class Untested(BaseModel):
    """A stress test that the run has not been through."""

    name: str
    title: str
    description: str


class RobustnessPage(BaseModel):
    """A run under stress."""

    run: RunHead
    scorecard: Scorecard | None = Field(description="A line for each stress test; none where there was none.")
    slices: Joint | None = Field(description="Confirmed slices against stress tests; none where no test has any.")
    classes: Joint | None = Field(description="Classes against stress tests; none where no test has any.")
    every: str = Field(description="Path of the page with all rows; empty where all are shown.")
    panels: list[ShownPanel] = Field(description="What each stress test found.")
    untested: list[Untested] = Field(description="Stress tests that were not part of this run.")
    again: str = Field(description="Path of the form for the same audit with the missing tests; empty for viewers.")


@pages.page("/runs/{run_id}/robustness", "results/robustness.html")
def robustness(
    access: ProjectAccess,
    run_id: int,
    sort: Annotated[str, Query(max_length=120, description="Key of a column; empty: by all of them.")] = "",
    every: Annotated[bool, Query(description="All classes and slices, not the worst alone.")] = False,
) -> RobustnessPage:
    """How easily the model breaks, for which classes and slices, and what is proven not to break."""
    reader = open_run(access, run_id)
    kinds, path = reader.run.kinds, f"{home(reader.run)}/robustness"
    columns, scores = columns_of(reader, kinds), frozenset(reader.score_reader.extra)
    shape = Shape(accuracy(reader.summary("card")), sort, None if every else SHOWN, scores)
    classes = joint_classes(columns, class_groups(reader, _unchanged(reader, columns)), shape)
    slices = joint_slices(columns, slice_groups(reader), shape)
    hidden = max(classes.total - len(classes.rows), slices.total - len(slices.rows))
    untested = _untested(kinds)
    return RobustnessPage(
        run=run_head(access, reader),
        scorecard=scorecard(reader, kinds, path),
        slices=slices if slices.rows else None,
        classes=classes if classes.rows else None,
        every=f"{path}?{urlencode({'sort': sort, 'every': 1})}#groups" if hidden else "",
        panels=render_panels(Subject("robustness", run_id), reader, kinds),
        untested=untested,
        again=_again(reader, untested) if untested and access.may(reader.run.project_id, "analyst") else "",
    )


def _unchanged(reader: LiveReader, columns: Columns) -> dict[int, Estimate]:
    if not columns:
        return {}
    tallied = reader.score_reader.tally("label", "correct IS NOT NULL", limit=MOST_CLASSES)
    return {label: estimate(n - errors, n) for label, n, errors in tallied}


def _untested(kinds: list[str]) -> list[Untested]:
    return [
        Untested(name=kind.name, title=kind.title, description=kind.description)
        for name, kind in sorted(audits.kinds().items())
        if kind.stress_test and name not in kinds
    ]


def _again(reader: LiveReader, untested: list[Untested]) -> str:
    """The form of a new audit with the run's choice, and the stress tests that it lacks ticked."""
    run = reader.run
    chosen = {
        "project": run.project_id,
        "model_version": run.model_version_id,
        "data": f"{run.dataset_id}/{run.split}",
        "train": f"{run.dataset_id}/{run.train_split}" if run.train_split else "",
        "encoder": run.encoder,
        "kinds": [one.name for one in untested],
    }
    return f"/audits/new?{urlencode(chosen, doseq=True)}"
