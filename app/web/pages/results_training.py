"""Training data of a run: the images that its kinds single out, list by list, and the lists as files."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app import audits
from app.audits.base import Subject, TrainingList
from app.audits.pieces import Thumb
from app.errors import NotFound
from app.services.training_export import MEDIA, export_list
from app.store.places import get_artifacts
from app.web.deps import ProjectAccess
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.reader import LiveReader
from app.web.twins import Pages

pages = Pages("Training data")
PAGE = 60


class ListHead(BaseModel):
    """A list as the page names it."""

    key: str
    title: str
    href: str
    count: int


class TrainingPage(BaseModel):
    """The training images that this run holds for suspicious."""

    run: RunHead
    lists: list[ListHead]
    chosen: str = Field(description="Key of the list shown; empty where there is none.")
    title: str
    text: str = Field(description="How the list was made and what it is worth.")
    items: list[Thumb]
    first: int = Field(description="Place of the first one shown, from 1.")
    total: int
    previous: str = Field(description="Path of the page before; empty on the first.")
    next: str
    files: list[tuple[str, str]] = Field(description="Name and path of the list as a file.")
    split: str = Field(description="The training split; empty: the run names none.")


@pages.page("/runs/{run_id}/training", "results/training.html")
def training(
    access: ProjectAccess,
    run_id: int,
    list_: Annotated[str, Query(alias="list", max_length=60)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> TrainingPage:
    """Training images that are probably harmful, mislabelled, memorised, duplicated or leaked."""
    reader = open_run(access, run_id)
    found = lists_of(reader)
    chosen = _chosen(found, list_) if found or list_ else None
    start = (page - 1) * PAGE
    return TrainingPage(
        run=run_head(access, reader),
        lists=[_head(reader, one) for one in found],
        chosen=chosen.key if chosen else "",
        title=chosen.title if chosen else "",
        text=chosen.text if chosen else "",
        items=_thumbs(reader, chosen, start) if chosen else [],
        first=start + 1,
        total=len(chosen.table) if chosen else 0,
        previous=_page(reader, chosen, page - 1) if chosen and page > 1 else "",
        next=_page(reader, chosen, page + 1) if chosen and start + PAGE < len(chosen.table) else "",
        files=[(form, f"{home(reader.run)}/training/{chosen.key}.{form}") for form in MEDIA] if chosen else [],
        split=reader.run.train_split,
    )


@pages.html.get("/runs/{run_id}/training/{name}")
def training_file(access: ProjectAccess, run_id: int, name: str) -> Response:
    """A list as a file: <list>.csv, .parquet, .cleanlab.csv or .fiftyone.json."""
    reader = open_run(access, run_id)
    key, _, form = name.partition(".")
    chosen = _chosen(lists_of(reader), key)
    manifest = get_artifacts().local(reader.dataset.artifact_key) / "manifest.parquet"
    content = export_list(chosen.table, manifest, reader.classes, form)
    attached = {"Content-Disposition": f'attachment; filename="run-{run_id}-{name}"'}
    return Response(content, media_type=MEDIA[form], headers=attached)


def lists_of(reader: LiveReader) -> list[TrainingList]:
    """Return the lists of all kinds of a run."""
    known = audits.kinds()
    return [one for name in reader.run.kinds if name in known for one in known[name].training_lists(reader)]


def _chosen(found: list[TrainingList], key: str) -> TrainingList:
    """The named list; without a name the first one that has an image."""
    named = [one for one in found if one.key == key] if key else [one for one in found if len(one.table)] or found
    if not named:
        raise NotFound(f"This run has no list “{key}”. It has: {', '.join(one.key for one in found) or 'none'}.")
    return named[0]


def _head(reader: LiveReader, one: TrainingList) -> ListHead:
    return ListHead(key=one.key, title=one.title, href=_page(reader, one, 1), count=len(one.table))


def _page(reader: LiveReader, one: TrainingList, page: int) -> str:
    return f"{home(reader.run)}/training?list={one.key}" + (f"&page={page}" if page > 1 else "")


def _thumbs(reader: LiveReader, chosen: TrainingList, start: int) -> list[Thumb]:
    return [
        Thumb(
            src=reader.picture(entry["row"]),
            alt=f"Training image labelled {reader.class_name(entry['label'])}: {entry['note']}",
            text=f"{reader.class_name(entry['label'])}: {entry['note']}",
            href=reader.link(Subject("training_image", reader.run_id, row=entry["row"])) + f"?list={chosen.key}",
        )
        for entry in chosen.table.slice(start, PAGE).to_pylist()
    ]
