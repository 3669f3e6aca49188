"""One image: at which places of a patch its defended prediction is safe."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.patches.budgets import EFFORTS
from app.audits.patches.page_map import PlaceMap, place_map
from app.audits.patches.page_sizes import STAGE, arrays_of, harm_of
from app.audits.patches.schema import METHODS, PatchesSummary
from app.audits.patches.words import NAMES, size_text
from app.audits.pixels import ENDS


class MethodMap(BaseModel):
    """One method at one size on one image."""

    name: str
    sentence: str
    certified: bool
    map: PlaceMap | None


class ImageSize(BaseModel):
    """One size on one image."""

    anchor: str
    text: str
    short: str
    chosen: bool
    methods: list[MethodMap]


class ImagePatches(BaseModel):
    """An image against patches."""

    clean: bool = Field(description="Whether the model is right on the unchanged image.")
    src: str = Field(description="Path of the picture as the network gets it; empty where it was not kept.")
    sizes: list[ImageSize]
    no_map: str = Field(description="Why there is no map; empty where there is one.")


def image_panel(subject: Subject, summary: PatchesSummary, reader: RunReader) -> Panel | None:
    """Return what is certified of an image; none where it was not tested."""
    arrays, position = arrays_of(reader), (subject.row or 0) - reader.split_start
    found = np.flatnonzero(arrays["positions"] == position)
    if subject.row is None or not len(found):
        return None
    place, mapped = int(found[0]), np.flatnonzero(arrays["mapped"] == position)
    number = int(mapped[0]) if len(mapped) else None
    most = EFFORTS[summary.budget].mapped
    context = ImagePatches(
        clean=bool(arrays["clean"][place] == arrays["labels"][place]),
        src=_src(reader, number),
        sizes=[_size(summary, column, place, number, arrays, reader) for column in range(len(summary.sizes))],
        no_map="" if number is not None else f"Maps of places are made of the first {most} images that were drawn.",
    )
    return Panel("patches", "Against patches", "patches/image.html", context, 66)


def _src(reader: RunReader, number: int | None) -> str:
    if number is None:
        return ""
    ends = reader.array("patches", STAGE, ENDS)
    empty = int(ends[number]) == (int(ends[number - 1]) if number else 0)
    return "" if empty else reader.kept_picture("patches", STAGE, number)


def _size(
    summary: PatchesSummary, column: int, place: int, number: int | None, arrays: dict[str, Any], reader: RunReader
) -> ImageSize:
    size = summary.sizes[column]
    methods = [METHODS.index(row.method) for row in summary.methods]
    return ImageSize(
        anchor=f"patch-{size.px}px",
        text=size_text(size),
        short=size.text if size.text.lower().endswith("px") else f"{size.text} · {size.px} px",
        chosen=column == summary.middle,
        methods=[_method(method, column, place, number, arrays, reader) for method in methods],
    )


def _method(
    method: int, column: int, place: int, number: int | None, arrays: dict[str, Any], reader: RunReader
) -> MethodMap:
    certified = bool(arrays["certified"][place, method, column] == 1)
    answer, label = int(arrays["defended"][place, method, column]), int(arrays["labels"][place])
    if certified:
        sentence = "Certified: no patch of this size turns the defended prediction."
    elif answer == label:
        sentence = "Right unchanged; not certified."
    else:
        sentence = f"The defended model takes the unchanged image for {reader.classes[answer]}."
    made = None if number is None else _map(np.asarray(arrays["map"][number, method, column]), METHODS[method])
    return MethodMap(name=NAMES[METHODS[method]], sentence=sentence, certified=certified, map=made)


def _map(found: Any, method: str) -> PlaceMap:
    harm = harm_of(found)
    safe = int((harm == 0).sum())
    told = f"Safe at {safe} of {harm.size} places."
    if method != "two masks":
        told += f" Votes to spare: {_signed(found.min())} at the worst place, {_signed(found.max())} at the best."
    return place_map(harm, told)


def _signed(value: int) -> str:
    return f"{int(value)}".replace("-", "−")
