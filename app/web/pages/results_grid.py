"""Grids of a run's images: what is filtered, how it is sorted, which page; all of it is in the URL."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, Field

from app.audits.pieces import Thumb
from app.errors import NotFound
from app.services.membership import member_rows
from app.store.repositories import findings, marks
from app.web.reader import LiveReader

PAGE = 60
SORTS = (
    ("decision", "hardest first"),
    ("decision DESC", "easiest first"),
    ("confidence", "least confident first"),
    ("confidence DESC", "most confident first"),
    ("p_true", "true class least likely"),
    ("row", "order of the data set"),
)


class ImageFilter(BaseModel):
    """Which images of a run, in which order."""

    label: str = Field("", pattern=r"^\d{0,9}$", description="Index of the true class.")
    predicted: str = Field("", pattern=r"^\d{0,9}$", description="Index of the predicted class.")
    outcome: Literal["", "wrong", "right"] = Field("", description="Only errors, or none of them.")
    role: Literal["", "fit", "confirm"] = Field("", description="Which half of the audited split.")
    tag: str = Field("", max_length=40, description="A tag of the images.")
    slice: str = Field("", pattern=r"^\d{0,18}$", description="Id of a slice.")
    sort: str = Field("decision", description="Column; DESC after it for the other direction.")
    page: int = Field(1, ge=1, le=1_000_000)

    def query(self, **changed: Any) -> str:
        """Return the filter as a query string, what is at its default left out."""
        values = {**self.model_dump(), **changed}
        unset = {name: field.default for name, field in type(self).model_fields.items()}
        return urlencode({name: value for name, value in values.items() if value != unset[name]})


Filter = Annotated[ImageFilter, Query()]


class Choice(BaseModel):
    """One entry of a filter's menu."""

    value: str
    text: str


class Grid(BaseModel):
    """A page of images with what it was filtered by."""

    items: list[Thumb]
    total: int = Field(description="Images that pass the filter.")
    first: int = Field(description="Place of the first one shown, from 1.")
    filter: ImageFilter
    fixed: list[str] = Field(description="Filters that this page holds fixed.")
    sorts: list[Choice]
    classes: list[Choice] = Field(description="Classes to choose from.")
    tags: list[Choice] = Field(description="Tags of images of this data set.")
    previous: str = Field(description="Path of the page before; empty on the first.")
    next: str = Field(description="Path of the page after; empty on the last.")


def conditions(reader: LiveReader, chosen: ImageFilter) -> tuple[str, list[Any]]:
    """Return the filter as a condition on the score table, with its parameters.

    Raises:
        NotFound: the slice is not one of this run.
    """
    parts: list[tuple[str, list[Any]]] = []
    if chosen.label:
        parts.append(("label = ?", [int(chosen.label)]))
    if chosen.predicted:
        parts.append(("prediction = ?", [int(chosen.predicted)]))
    if chosen.outcome:
        parts.append(("correct" if chosen.outcome == "right" else "NOT correct", []))
    if chosen.role:
        parts.append(("role = ?", [chosen.role]))
    if chosen.tag:
        rows = marks.tagged(reader.session, marks.IMAGE, reader.dataset_id, chosen.tag)
        parts.append(("row IN (SELECT unnest(?))", [rows]))
    if chosen.slice:
        parts.append(_in_slice(reader, int(chosen.slice)))
    return " AND ".join(part for part, _ in parts), [value for _, values in parts for value in values]


def grid(reader: LiveReader, chosen: ImageFilter, path: str, fixed: tuple[str, ...] = ()) -> Grid:
    """Return one page of images; `path` is the page's own, `fixed` names filters that its path implies."""
    where, params = conditions(reader, chosen)
    total = reader.count(where, params)
    offset = (chosen.page - 1) * PAGE
    rows = reader.scores(where, params, order=chosen.sort, limit=PAGE, offset=offset)
    kept = chosen.query(page=1)
    pages = dict.fromkeys(fixed, "")

    def page(number: int) -> str:
        query = chosen.query(page=number, **pages)
        return f"{path}?{query}#images" if query else f"{path}#images"

    return Grid(
        items=[reader.thumb(row, query=kept) for row in rows],
        total=total,
        first=offset + 1 if rows else 0,
        filter=chosen,
        fixed=list(fixed),
        sorts=[Choice(value=value, text=text) for value, text in (*SORTS, *_more_sorts(reader))],
        classes=[Choice(value=str(i), text=name) for i, name in enumerate(reader.classes)],
        tags=[Choice(value=tag, text=tag) for tag in marks.names(reader.session, marks.IMAGE, reader.dataset_id)],
        previous=page(chosen.page - 1) if chosen.page > 1 else "",
        next=page(chosen.page + 1) if offset + len(rows) < total else "",
    )


def _more_sorts(reader: LiveReader) -> list[tuple[str, str]]:
    """What kinds measured of each image."""
    return [(name, f"{name.replace('_', ' ').replace('.', ', ')}, lowest first") for name in reader.score_reader.extra]


def _in_slice(reader: LiveReader, finding_id: int) -> tuple[str, list[Any]]:
    finding = findings.get(reader.session, finding_id)
    if finding is None or finding.run_id != reader.run_id:
        raise NotFound("There is no such slice in this run.")
    if finding.rows_key:
        return "row IN (SELECT unnest(?))", [member_rows(reader.run, finding).tolist()]
    return "list_contains(slices, ?)", [finding.key]
