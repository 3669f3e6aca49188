"""The classes of a run: a table that a thousand of them fit, and a page for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, Field

from app.audits.base import Subject
from app.audits.pieces import Estimate, common_scale
from app.errors import NotFound
from app.services.proportions import estimate
from app.web.deps import ProjectAccess
from app.web.pages.results_grid import Filter, Grid, grid
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader
from app.web.twins import Pages

pages = Pages("Classes")
PAGE = 100
MOST_CLASSES = 100_000
SHOWN_MISTAKES = 12


class ClassRow(BaseModel):
    """One class of a run."""

    index: int
    name: str
    href: str
    errors: Estimate
    slices: int = Field(description="Confirmed slices.")


class ClassFilter(BaseModel):
    """Which classes, in which order."""

    q: str = Field("", max_length=200, description="A part of the name.")
    sort: Literal["errors", "name", "images", "slices"] = "errors"
    page: int = Field(1, ge=1, le=100_000)


class ClassesPage(BaseModel):
    """Everything on the list of classes."""

    run: RunHead
    rows: list[ClassRow]
    scale: tuple[float, float] = Field(description="From and to of all whiskers.")
    total: int
    first: int
    filter: ClassFilter
    previous: str
    next: str


class Mistaken(BaseModel):
    """What images of a class are taken for, or what is taken for it."""

    name: str
    href: str
    n: int
    share: Estimate = Field(description="Of the images of the true class.")
    images: str = Field(description="Path of these images.")


class ClassPage(BaseModel):
    """Everything on a class's page."""

    run: RunHead
    index: int
    name: str
    accuracy: Estimate
    panels: list[ShownPanel]
    taken_for: list[Mistaken]
    taken_from: list[Mistaken] = Field(description="Images of other classes that were taken for this one.")
    images: Grid


@pages.page("/runs/{run_id}/classes", "results/classes.html")
def classes(access: ProjectAccess, run_id: int, chosen: Annotated[ClassFilter, Query()]) -> ClassesPage:
    """The classes of a run with their error rates."""
    reader = open_run(access, run_id)
    rows = [row for row in _counted(reader) if chosen.q.casefold() in row.name.casefold()]
    rows.sort(key=_ORDERS[chosen.sort])
    offset = (chosen.page - 1) * PAGE
    path = f"{home(reader.run)}/classes?{urlencode({'q': chosen.q, 'sort': chosen.sort})}&page="
    shown = [_row(reader, row) for row in rows[offset : offset + PAGE]]
    return ClassesPage(
        run=run_head(access, reader),
        rows=shown,
        scale=common_scale([row.errors for row in shown]),
        total=len(rows),
        first=offset + 1 if offset < len(rows) else 0,
        filter=chosen,
        previous=f"{path}{chosen.page - 1}" if chosen.page > 1 else "",
        next=f"{path}{chosen.page + 1}" if offset + PAGE < len(rows) else "",
    )


@pages.page("/runs/{run_id}/classes/{index}", "results/class.html")
def class_page(access: ProjectAccess, run_id: int, index: int, chosen: Filter) -> ClassPage:
    """A class: its hard and easy images, its slices, what it is taken for."""
    reader = open_run(access, run_id)
    if not 0 <= index < len(reader.classes):
        raise NotFound(f"This run has {len(reader.classes):,} classes, numbered from 0; there is no class {index:,}.")
    path = reader.link(Subject("class", run_id, index))
    n, errors = next(
        (
            (n, errors)
            for _, n, errors in reader.score_reader.tally("label", "label = ? AND correct IS NOT NULL", [index])
        ),
        (0, 0),
    )
    return ClassPage(
        run=run_head(access, reader),
        index=index,
        name=reader.classes[index],
        accuracy=estimate(n - errors, n),
        panels=render_panels(Subject("class", run_id, index), reader, reader.run.kinds),
        taken_for=_taken_for(reader, index, n),
        taken_from=_taken_from(reader, index),
        images=grid(reader, chosen.model_copy(update={"label": str(index)}), path, fixed=("label",)),
    )


class _Counted(NamedTuple):
    number: int
    name: str
    n: int
    errors: int
    slices: int


def _counted(reader: LiveReader) -> list[_Counted]:
    tallied = reader.score_reader.tally("label", "correct IS NOT NULL", limit=MOST_CLASSES)
    counts = {label: (n, errors) for label, n, errors in tallied}
    confirmed = reader.confirmed_slices()
    return [
        _Counted(index, name, *counts.get(index, (0, 0)), confirmed.get(index, 0))
        for index, name in enumerate(reader.classes)
    ]


def _row(reader: LiveReader, row: _Counted) -> ClassRow:
    return ClassRow(
        index=row.number,
        name=row.name,
        href=reader.link(Subject("class", reader.run_id, row.number)),
        errors=estimate(row.errors, row.n),
        slices=row.slices,
    )


_ORDERS: dict[str, Callable[[_Counted], Any]] = {
    "errors": lambda row: (-row.errors / max(row.n, 1), -row.n),
    "name": lambda row: row.name.casefold(),
    "images": lambda row: -row.n,
    "slices": lambda row: (-row.slices, -row.errors / max(row.n, 1)),
}


def _taken_for(reader: LiveReader, index: int, n: int) -> list[Mistaken]:
    where = "label = ? AND NOT correct"
    found = reader.score_reader.tally("prediction", where, [index], SHOWN_MISTAKES)
    return [_mistaken(reader, other, k, n, f"label={index}&predicted={other}") for other, k, _ in found]


def _taken_from(reader: LiveReader, index: int) -> list[Mistaken]:
    where = "prediction = ? AND NOT correct"
    found = reader.score_reader.tally("label", where, [index], SHOWN_MISTAKES)
    labels = [other for other, _, _ in found]
    sizes = {other: n for other, n, _ in reader.score_reader.tally("label", "label IN (SELECT unnest(?))", [labels])}
    return [_mistaken(reader, other, k, sizes[other], f"label={other}&predicted={index}") for other, k, _ in found]


def _mistaken(reader: LiveReader, other: int, k: int, n: int, query: str) -> Mistaken:
    return Mistaken(
        name=reader.class_name(other),
        href=reader.link(Subject("class", reader.run_id, other)),
        n=k,
        share=estimate(k, n),
        images=f"{home(reader.run)}/images?{query}",
    )
