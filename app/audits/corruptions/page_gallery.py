"""Kept pictures: one image in every cell, and pairs of clean and corrupted."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.base import RunReader
from app.audits.corruptions.schema import CorruptionsSummary
from app.audits.corruptions.words import kind_name
from app.errors import NotFound

STAGE = "summarise"


class Shown(BaseModel):
    """A kept picture."""

    src: str
    alt: str
    text: str = Field(description="Line below it: the severity, or what it is taken for.")
    wrong: bool | None = Field(description="Whether the model is wrong on it.")


class GalleryRow(BaseModel):
    """One image, clean and at each severity of a kind."""

    name: str
    pictures: list[Shown]


def picture_numbers(reader: RunReader) -> dict[tuple[int, int], int]:
    """The number of each kept picture by position and column; column 0 is the clean image."""
    places = reader.array("corruptions", STAGE, "pictures.of").tolist()
    return {(position, column): number for number, (position, column) in enumerate(places)}


def gallery(summary: CorruptionsSummary, reader: RunReader, *, whole: bool) -> list[GalleryRow]:
    """One image in every cell: the first of the draw that is right when clean, if there is one.

    Not `whole`: clean and at the strongest severity; none in a report that holds no pictures.
    """
    try:
        rows = _gallery(summary, reader, whole=whole)
    except NotFound:
        return []
    return [row for row in rows if all(shown.src for shown in row.pictures)]


def _gallery(summary: CorruptionsSummary, reader: RunReader, *, whole: bool) -> list[GalleryRow]:
    numbers = picture_numbers(reader)
    outcome = reader.array("corruptions", STAGE, "outcome")
    places = {int(position): i for i, position in enumerate(reader.array("corruptions", STAGE, "positions"))}
    columns = outcome.shape[1]
    known = [p for p in {p for p, _ in numbers} if p in places and all((p, c) in numbers for c in range(columns))]
    if not known:
        return []
    chosen = min(known, key=lambda position: (-int(outcome[places[position], 0]), position))
    found, column = [], 1
    for row in summary.kinds:
        pictures = [_shown(reader, numbers[chosen, 0], "clean", int(outcome[places[chosen], 0]))]
        for severity in summary.severities:
            if whole or severity == summary.severities[-1]:
                right = int(outcome[places[chosen], column])
                pictures.append(_shown(reader, numbers[chosen, column], f"severity {severity}", right))
            column += 1
        found.append(GalleryRow(name=kind_name(row.kind), pictures=pictures))
    return found


def _shown(reader: RunReader, number: int, text: str, right: int) -> Shown:
    word = "right" if right else "wrong"
    src = reader.kept_picture("corruptions", STAGE, number)
    return Shown(src=src, alt=f"{text}: the model is {word}", text=text, wrong=not right)
