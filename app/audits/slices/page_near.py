"""The images nearest to one among all of the run: asked of a worker, kept, shown with how many were searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from app.audits.base import RunReader, Subject
from app.audits.pieces import Thumb
from app.audits.slices.schema import NeighboursAnswer, SlicesSummary

ACTIVE = ("queued", "running")


class Near(BaseModel):
    """The nearest images, or the way to ask for them."""

    items: list[Thumb] = Field(description="Nearest first; empty before the answer.")
    compared: int = Field(description="Images that were searched.")
    total: int = Field(description="Audited images of the run.")
    waiting: bool
    error: str
    href: str = Field(description="Path that asks for them when posted to and is this block when read; empty: asked.")
    image_href: str = Field(description="Path of the image's page.")


def near(row: int, reader: RunReader) -> Near:
    """Return what is known of the images nearest to a data set row."""
    summary = SlicesSummary.model_validate(reader.summary("slices"))
    page = reader.link(Subject("image", reader.run_id, row=row))
    asked = reader.asked("slices", "neighbours", row - reader.split_start)
    empty = Near(
        items=[],
        compared=0,
        total=summary.fit_rows + summary.confirm_rows,
        waiting=asked is not None and asked.status in ACTIVE,
        error=asked.error if asked is not None else "",
        href=f"{page}/near",
        image_href=page,
    )
    return found(asked.result, reader, empty) if asked is not None and asked.status == "succeeded" else empty


def found(result: Mapping[str, Any], reader: RunReader, around: Near) -> Near:
    """Return `around` with a worker's answer in it."""
    answer = NeighboursAnswer.model_validate(result)
    labels = _labels(reader, answer.rows)
    shown = zip(answer.rows, answer.scores, reader.thumbs(answer.rows), strict=True)
    items = [
        item.model_copy(update={"text": f"{labels[position]}, similarity {score:.2f}"})
        for position, score, item in shown
        if item
    ]
    # An answer is not asked for again, also where it is empty.
    return around.model_copy(update={"items": items, "compared": answer.compared, "href": ""})


def answered(result: Mapping[str, Any], reader: RunReader) -> Near:
    """Return a worker's answer on a page of its own."""
    return found(result, reader, Near(items=[], compared=0, total=0, waiting=False, error="", href="", image_href=""))


def _labels(reader: RunReader, positions: list[int]) -> dict[int, str]:
    if not positions:
        return {}
    places = ", ".join("?" * len(positions))
    rows = [reader.split_start + position for position in positions]
    scored = reader.scores(f"row IN ({places})", rows, limit=len(rows))
    named = {entry["row"] - reader.split_start: entry["label"] for entry in scored}
    return {
        position: reader.classes[named[position]] if named.get(position) is not None else "no label"
        for position in positions
    }
