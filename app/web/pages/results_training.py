"""Training data of a run: the images that its kinds single out, list by list, and the lists as files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app import audits
from app.audits.base import Subject, TrainingList
from app.audits.pieces import Thumb
from app.errors import NotFound
from app.services.compare import COMPARE
from app.services.training_export import MEDIA, export_list
from app.store.places import get_artifacts
from app.web.card import answering
from app.web.deps import ProjectAccess
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader
from app.web.twins import Pages

pages = Pages("Training data")
PAGE = 60


class ListHead(BaseModel):
    """A list as the page names it."""

    key: str
    title: str
    href: str
    count: int | None = Field(description="Images on it; none for what is no list.")


class TrainingPage(BaseModel):
    """The training images that this run holds for suspicious."""

    run: RunHead
    lists: list[ListHead]
    chosen: str = Field(description="Key of the list or panel shown; empty where there is none.")
    title: str
    text: str = Field(description="How the list was made and what it is worth.")
    items: list[Thumb]
    first: int = Field(description="Place of the first one shown, from 1.")
    total: int
    previous: str = Field(description="Path of the page before; empty on the first.")
    next: str
    files: list[tuple[str, str]] = Field(description="Name and path of the list as a file.")
    split: str = Field(description="The training split; empty: the run names none.")
    panel: ShownPanel | None = Field(description="What is shown in place of a list.")
    compare: str = Field(description="Path of the comparison with other runs; empty where no kind compares.")


@pages.page("/runs/{run_id}/training", "results/training.html")
def training(
    access: ProjectAccess,
    run_id: int,
    list_: Annotated[str, Query(alias="list", max_length=60)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> TrainingPage:
    """Training images that are probably harmful, mislabelled, memorised, duplicated or leaked."""
    reader = open_run(access, run_id)
    found, panels = lists_of(reader), render_panels(Subject("training", run_id), reader, reader.run.kinds)
    panel = next((one for one in panels if one.key == list_), None)
    chosen = None if panel or not (found or list_) else _chosen(found, list_)
    return TrainingPage(
        run=run_head(access, reader),
        lists=[_head(reader, one) for one in found] + [_panel_head(reader, one) for one in panels],
        split=reader.run.train_split,
        panel=panel,
        compare=f"{home(reader.run)}/compare" if answering(reader, COMPARE) else "",
        **(_shown(reader, chosen, page) if chosen else _nothing(panel)),
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


def _panel_head(reader: LiveReader, one: ShownPanel) -> ListHead:
    return ListHead(key=one.key, title=one.title, href=f"{home(reader.run)}/training?list={one.key}", count=None)


def _shown(reader: LiveReader, chosen: TrainingList, page: int) -> dict[str, Any]:
    start, total = (page - 1) * PAGE, len(chosen.table)
    return {
        "chosen": chosen.key,
        "title": chosen.title,
        "text": chosen.text,
        "items": _thumbs(reader, chosen, start),
        "first": start + 1,
        "total": total,
        "previous": _page(reader, chosen, page - 1) if page > 1 else "",
        "next": _page(reader, chosen, page + 1) if start + PAGE < total else "",
        "files": [(form, f"{home(reader.run)}/training/{chosen.key}.{form}") for form in MEDIA],
    }


def _nothing(panel: ShownPanel | None) -> dict[str, Any]:
    empty: dict[str, Any] = {"text": "", "items": [], "first": 1, "total": 0, "previous": "", "next": "", "files": []}
    return {**empty, "chosen": panel.key if panel else "", "title": panel.title if panel else ""}


def _page(reader: LiveReader, one: TrainingList, page: int) -> str:
    return f"{home(reader.run)}/training?list={one.key}" + (f"&page={page}" if page > 1 else "")


def _thumbs(reader: LiveReader, chosen: TrainingList, start: int) -> list[Thumb]:
    return [
        Thumb(
            src=reader.picture(entry["row"]),
            alt=f"Training image labelled {reader.class_name(entry['label'])}: {entry['note']}",
            text=f"{reader.class_name(entry['label'])}\n{entry['note']}",
            href=reader.link(Subject("training_image", reader.run_id, row=entry["row"])) + f"?list={chosen.key}",
        )
        for entry in chosen.table.slice(start, PAGE).to_pylist()
    ]
