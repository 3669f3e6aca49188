"""One size of patch at a time: what each method certifies, where a patch does harm, and for which images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import RunReader, Subject
from app.audits.patches.page_map import PlaceMap, place_map
from app.audits.patches.schema import METHODS, Method, PatchesSummary
from app.audits.patches.words import NAMES, SLUGS, size_text
from app.audits.pieces import Estimate, Thumb

STAGE = "summarise"
THUMBS = 12


class MethodAt(BaseModel):
    """One method at one size."""

    name: str
    href: str = Field(description="Path of its images; empty in a report.")
    defended: Estimate
    certified: Estimate


class SizeView(BaseModel):
    """Everything at one size."""

    anchor: str
    text: str
    short: str = Field(description="For the row of sizes.")
    chosen: bool = Field(description="Shown where the address names no size.")
    methods: list[MethodAt]
    lead: str = Field(description="The method that the map and the images are about.")
    map: PlaceMap | None
    certified: list[Thumb]
    worst: list[Thumb]


def size_views(summary: PatchesSummary, reader: RunReader, *, live: bool) -> list[SizeView]:
    """Each size in turn; maps and images only where `live`."""
    views, lead = [], summary.methods[0].method
    arrays = arrays_of(reader) if live else {}
    for column, size in enumerate(summary.sizes):
        certified, worst = images_at(arrays, lead, column) if live else ([], [])
        views.append(
            SizeView(
                anchor=f"patch-{size.px}px",
                text=size_text(size),
                short=size.text if size.text.lower().endswith("px") else f"{size.text} · {size.px} px",
                chosen=column == summary.middle,
                methods=_methods(summary, column, reader),
                lead=NAMES[lead],
                map=_run_map(arrays, lead, column) if live else None,
                certified=thumbs(reader, certified[:THUMBS]),
                worst=thumbs(reader, worst[:THUMBS]),
            )
        )
    return views


def arrays_of(reader: RunReader) -> dict[str, Any]:
    """What is known of each tested image."""
    names = ("positions", "labels", "clean", "defended", "certified", "mapped", "map")
    return {name: reader.array("patches", STAGE, name) for name in names}


def images_at(arrays: dict[str, Any], method: Method, column: int) -> tuple[list[int], list[int]]:
    """Positions that a method certifies at a size, and those that are right unchanged and that it does not: first those
    that it certifies at fewest sizes."""
    held = arrays["certified"][:, METHODS.index(method)]
    right = arrays["clean"] == arrays["labels"]
    sure, open_ = held[:, column] == 1, right & (held[:, column] == 0)
    order = np.argsort(held.sum(1), kind="stable")
    return arrays["positions"][sure].tolist(), arrays["positions"][order[open_[order]]].tolist()


def thumbs(reader: RunReader, positions: list[int]) -> list[Thumb]:
    """Pictures of positions, as far as there are any."""
    return [thumb for thumb in reader.thumbs(positions) if thumb is not None]


def harm_of(found: NDArray[Any]) -> NDArray[np.float64]:
    """1 where a place is not safe, of maps [..., 12, 12]."""
    return (np.asarray(found) < 0).astype(np.float64)


def cell_of(method: Method, px: int) -> str:
    """How a page's address names a method at a size."""
    return f"{SLUGS[method]}-{px}px"


def cell_link(method: Method, px: int, reader: RunReader) -> str:
    """The path of a method's images at a size."""
    return reader.link(Subject("cell", reader.run_id, key=f"patches/{cell_of(method, px)}"))


def _methods(summary: PatchesSummary, column: int, reader: RunReader) -> list[MethodAt]:
    px = summary.sizes[column].px
    return [
        MethodAt(
            name=NAMES[row.method],
            href=cell_link(row.method, px, reader),
            defended=row.defended[column],
            certified=row.certified[column],
        )
        for row in summary.methods
    ]


def _run_map(arrays: dict[str, Any], method: Method, column: int) -> PlaceMap | None:
    """Where a patch does harm, over the mapped images that are right unchanged."""
    right = arrays["positions"][arrays["clean"] == arrays["labels"]]
    mine = np.isin(arrays["mapped"], right)
    if not mine.any():
        return None
    harm = harm_of(arrays["map"][mine][:, METHODS.index(method), column]).mean(axis=0)
    best, worst = 100 * (1 - harm.min()), 100 * (1 - harm.max())
    told = (
        f"Of {int(mine.sum()):,} images that are right unchanged, the defended prediction is safe from a patch at the "
        f"worst place in {worst:.0f} % and at the best place in {best:.0f} %."
    )
    return place_map(harm, told)
