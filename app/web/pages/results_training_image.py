"""One training image: its label, the lists that it stands on, and what the kinds of the run say of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from app.audits.base import Subject, TrainingList
from app.errors import NotFound
from app.store.places import get_artifacts
from app.store.repositories import queries
from app.store.score_reader import manifest_row
from app.web.deps import ProjectAccess
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.pages.results_training import lists_of
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader, image_path
from app.web.twins import Pages

pages = Pages("Training data")


class OnList(BaseModel):
    """A list that the image stands on."""

    title: str
    href: str
    note: str = Field(description="Why it stands there.")
    place: int = Field(description="Its place, from 1.")
    total: int


class TrainingImagePage(BaseModel):
    """Everything on a training image's page."""

    run: RunHead
    row: int = Field(description="Data set row.")
    example_id: str
    src: str = Field(description="Path of the picture.")
    width: int
    height: int
    label: str
    split: str = Field(description="The training split.")
    lists: list[OnList]
    panels: list[ShownPanel]
    meta: dict[str, Any] = Field(description="Columns that came with the data set.")
    previous: str = Field(description="Path of the image before it on the list that it was opened from.")
    next: str
    list_href: str = Field(description="Path of that list.")


@pages.page("/runs/{run_id}/training/images/{row}", "results/training_image.html")
def training_image(
    access: ProjectAccess, run_id: int, row: int, list_: Annotated[str, Query(alias="list", max_length=60)] = ""
) -> TrainingImagePage:
    """A training image: its label, whom it helps and hurts, and what is suspicious about it."""
    reader = open_run(access, run_id)
    split = queries.train_split_of(access.session, reader.run)
    if split is None or not split.start <= row < split.stop:
        raise NotFound(f"The image {row:,} is not in the split that this run's model was trained on.")
    facts = manifest_row(get_artifacts().local(reader.dataset.artifact_key) / "manifest.parquet", row)
    lists = lists_of(reader)
    return TrainingImagePage(
        run=run_head(access, reader),
        row=row,
        example_id=facts["example_id"],
        src=image_path(reader.dataset_id, row),
        width=facts.get("width") or 0,
        height=facts.get("height") or 0,
        label=_label(reader, facts.get("label")),
        split=split.name,
        lists=[found for one in lists if (found := _on_list(reader, one, row)) is not None],
        panels=render_panels(Subject("training_image", run_id, row=row), reader, reader.run.kinds),
        meta={name[5:]: value for name, value in facts.items() if name.startswith("meta.") and value is not None},
        **_around(reader, next((one for one in lists if one.key == list_), None), row),
    )


def _label(reader: LiveReader, index: int | None) -> str:
    """The label as the data set numbers it, which may be another order than the model's."""
    classes = reader.dataset.classes
    return classes[index] if index is not None and 0 <= index < len(classes) else "no label"


def _on_list(reader: LiveReader, one: TrainingList, row: int) -> OnList | None:
    rows = one.table["row"].to_pylist()
    if row not in rows:
        return None
    place = rows.index(row)
    note = one.table["note"][place].as_py()
    return OnList(title=one.title, href=_list(reader, one.key), note=note, place=place + 1, total=len(rows))


def _around(reader: LiveReader, chosen: TrainingList | None, row: int) -> dict[str, str]:
    if chosen is None:
        return {"previous": "", "next": "", "list_href": f"{home(reader.run)}/training"}
    rows = chosen.table["row"].to_pylist()
    here = rows.index(row) if row in rows else None
    beside = {"previous": None if not here else here - 1, "next": None if here is None else here + 1}
    paths = {
        name: f"{reader.link(Subject('training_image', reader.run_id, row=rows[at]))}?list={chosen.key}"
        if at is not None and at < len(rows)
        else ""
        for name, at in beside.items()
    }
    return {**paths, "list_href": _list(reader, chosen.key)}


def _list(reader: LiveReader, key: str) -> str:
    return f"{home(reader.run)}/training?list={key}"
