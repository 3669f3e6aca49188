"""The images of a run: filtered and sorted a page at a time, and one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Subject
from app.audits.pieces import Thumb
from app.errors import NotFound
from app.services import outputs
from app.store.places import get_artifacts
from app.store.repositories import findings as repository
from app.store.repositories import marks
from app.store.score_reader import manifest_row
from app.web.deps import Access, ProjectAccess
from app.web.forms import Form
from app.web.pages.results_grid import Choice, Filter, Grid, ImageFilter, conditions, grid
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader, image_path
from app.web.twins import Pages

pages = Pages("Images")
MOST_SLICES = 200


class ImagesPage(BaseModel):
    """The images of a run."""

    run: RunHead
    images: Grid


class Bar(BaseModel):
    """A class and its probability."""

    name: str
    href: str
    probability: float
    is_label: bool
    is_prediction: bool


class ImagePage(BaseModel):
    """Everything on an image's page."""

    run: RunHead
    row: int = Field(description="Data set row.")
    example_id: str
    src: str = Field(description="Path of the picture.")
    width: int
    height: int
    label: str
    prediction: str
    correct: bool | None
    confidence: float | None
    role: str = Field(description="fit or confirm.")
    bars: list[Bar] = Field(description="The likeliest classes, and the true one.")
    panels: list[ShownPanel]
    near: list[Thumb] = Field(description="Nearest images of its class by the encoder.")
    near_said: str = Field(description="How many images of its class were compared.")
    meta: dict[str, Any] = Field(description="Columns that came with the data set.")
    previous: str = Field(description="Path of the image before it in the list it was opened from.")
    next: str
    list_href: str = Field(description="Path of that list.")
    slices: list[Choice] = Field(description="Slices that it can be added to.")
    tags: list[str] = Field(description="Words that people put on it, in every run on this data set.")
    known_tags: list[str] = Field(description="Tags in use on this data set.")
    form: Form


@pages.page("/runs/{run_id}/images", "results/images.html")
def images(access: ProjectAccess, run_id: int, chosen: Filter) -> ImagesPage:
    """The images of a run, filtered and sorted."""
    reader = open_run(access, run_id)
    path = f"{home(reader.run)}/images"
    return ImagesPage(run=run_head(access, reader), images=grid(reader, chosen, path))


@pages.page("/runs/{run_id}/images/{row}", "results/image.html")
def image(access: ProjectAccess, run_id: int, row: int, chosen: Filter) -> ImagePage:
    """One image: what the model said, how hard it is, its slices and its neighbours."""
    return show_image(access, run_id, row, chosen, Form())


def show_image(access: Access, run_id: int, row: int, chosen: ImageFilter, form: Form) -> ImagePage:
    """Return the image's page, with what was typed into its forms.

    Raises:
        NotFound: the run did not audit this image.
    """
    reader = open_run(access, run_id)
    score = reader.score_reader.one(row)
    if score is None:
        raise NotFound(f"The image {row:,} is not in the split that this run audited.")
    facts = manifest_row(get_artifacts().local(reader.dataset.artifact_key) / "manifest.parquet", row)
    return ImagePage(
        run=run_head(access, reader),
        row=row,
        example_id=score["example_id"],
        src=image_path(reader.dataset_id, row),
        width=facts.get("width") or 0,
        height=facts.get("height") or 0,
        label=reader.class_name(score["label"]),
        prediction=reader.class_name(score["prediction"]),
        correct=score["correct"],
        confidence=score["confidence"],
        role=score["role"] or "",
        bars=_bars(reader, score),
        panels=render_panels(Subject("image", run_id, score["label"], row=row), reader, reader.run.kinds),
        **_near(reader, score),
        meta={name[5:]: value for name, value in facts.items() if name.startswith("meta.") and value is not None},
        slices=_choices(reader, score["label"]),
        tags=marks.tags(access.session, marks.IMAGE, reader.dataset_id, [row]).get(row, []),
        known_tags=marks.names(access.session, marks.IMAGE, reader.dataset_id),
        form=form,
        **_around(reader, row, chosen),
    )


def _bars(reader: LiveReader, score: dict[str, Any]) -> list[Bar]:
    label = score["label"]
    said = outputs.top_probabilities(reader.run, score["row"] - reader.split_start, label)
    return [
        Bar(
            name=reader.class_name(entry.class_index),
            href=reader.link(Subject("class", reader.run_id, entry.class_index)),
            probability=entry.probability,
            is_label=entry.class_index == label,
            is_prediction=entry.class_index == score["prediction"],
        )
        for entry in said
    ]


def _near(reader: LiveReader, score: dict[str, Any]) -> dict[str, Any]:
    if score["label"] is None:
        return {"near": [], "near_said": ""}
    same = reader.score_reader.columns(["row"], "label = ?", [score["label"]])["row"]
    found = outputs.nearest(reader.run, score["row"], np.asarray(same, np.int64), reader.split_start)
    known = reader.score_reader.by_rows([entry.row for entry in found])
    others = len(same) - 1
    compared = f"{min(others, outputs.MOST_COMPARED):,} of the {others:,} others were compared"
    return {
        "near": [reader.thumb(known[entry.row], text=f"similarity {entry.similarity:.2f}") for entry in found],
        "near_said": f"By the encoder; nearest first. {compared}",
    }


def _around(reader: LiveReader, row: int, chosen: ImageFilter) -> dict[str, str]:
    """The images before and after it in the list that it was opened from."""
    where, params = conditions(reader, chosen)
    before, after = reader.score_reader.beside(row, where, params, order=chosen.sort)
    query = chosen.query(page=1)
    tail = f"?{query}" if query else ""

    def path(number: int | None) -> str:
        return "" if number is None else reader.link(Subject("image", reader.run_id, row=number)) + tail

    place = f"/slices/{chosen.slice}" if chosen.slice else "/images"
    back = chosen.query(page=1, slice="") if chosen.slice else query
    return {
        "previous": path(before),
        "next": path(after),
        "list_href": f"{home(reader.run)}{place}" + (f"?{back}#images" if back else "#images"),
    }


def _choices(reader: LiveReader, label: int | None) -> list[Choice]:
    listed = repository.outline(reader.session, reader.run_id)
    same = [entry for entry in listed if entry.class_index in {label, None}]
    return [Choice(value=str(entry.id), text=entry.title) for entry in same[:MOST_SLICES]]
