"""Images that broke: the original, the change and the result; and what became of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from app.audits.attacks.schema import CHANGE, NAMES, ORIGINAL, RESULT, WRONG, AttacksSummary
from app.audits.attacks.words import NORMS
from app.audits.attacks.worst import first_column, worst_places
from app.audits.base import Panel, RunReader, Subject

STAGE = "summarise"


class Shown(BaseModel):
    """One of three pictures."""

    src: str
    alt: str
    text: str = Field(description="Line below it: a prediction, or that it is amplified and how far.")
    wrong: bool | None = Field(description="Whether the model is wrong on it; none: it is no image to classify.")


class Triple(BaseModel):
    """An image that broke."""

    href: str
    text: str = Field(description="What broke it, at which ε.")
    pictures: list[Shown]


class ImageAttacks(BaseModel):
    """What became of one image."""

    sentence: str
    levels: list[tuple[str, str]] = Field(description="ε and what happened there.")
    triple: Triple | None
    kept: str = Field(description="Why there are no pictures, where there are none.")


def triples(summary: AttacksSummary, reader: RunReader) -> list[Triple]:
    """The images that broke worst, of those that were kept."""
    arrays = _arrays(reader)
    numbers = _numbers(reader)
    places = worst_places(arrays["outcome"], arrays["margin"]).tolist()
    known = [place for place in places if (int(arrays["positions"][place]), RESULT) in numbers]
    return [_triple(place, arrays, numbers, summary, reader) for place in known]


def image_panel(subject: Subject, summary: AttacksSummary, reader: RunReader) -> Panel | None:
    """Return what became of an image; none where it was not attacked."""
    arrays = _arrays(reader)
    found = np.flatnonzero(arrays["positions"] == (subject.row or 0) - reader.split_start)
    if subject.row is None or not len(found):
        return None
    place, numbers = int(found[0]), _numbers(reader)
    position = int(arrays["positions"][place])
    has = (position, RESULT) in numbers
    broke = first_column(arrays["outcome"][place : place + 1])[0] > 0
    context = ImageAttacks(
        sentence=_sentence(place, arrays, summary),
        levels=[
            (level.text, _happened(place, column, arrays, reader)) for column, level in enumerate(summary.levels, 1)
        ],
        triple=_triple(place, arrays, numbers, summary, reader) if has else None,
        kept="Pictures are kept of the images that broke worst only." if broke and not has else "",
    )
    return Panel("attacks-image", "Under attack", "attacks/image.html", context, 45)


def _sentence(place: int, arrays: dict[str, Any], summary: AttacksSummary) -> str:
    column = int(first_column(arrays["outcome"][place : place + 1])[0])
    norm, last = NORMS[summary.norm], summary.levels[-1].text
    if column == 0:
        return "The model is wrong on this image as it is, so it was not attacked."
    if column < 0:
        return f"It withstood every attack that ran, up to {norm} ε = {last}. That is no proof."
    level = summary.levels[column - 1].text
    return f"A change of at most {norm} ε = {level} makes the model wrong; {_by(place, column, arrays)} found it first."


def _by(place: int, column: int, arrays: dict[str, Any]) -> str:
    return NAMES[int(arrays["by"][place, column - 1])]


def _happened(place: int, column: int, arrays: dict[str, Any], reader: RunReader) -> str:
    margin = f"margin {float(arrays['margin'][place, column]):.2f}".replace("-", "−")
    if arrays["by"][place, column - 1] == WRONG:
        return "wrong as it is"
    if arrays["outcome"][place, column]:
        return f"withstood; lowest {margin}"
    taken = reader.classes[int(arrays["taken"][place, column])]
    return f"taken for {taken}; {margin}; {_by(place, column, arrays)}"


def _triple(
    place: int, arrays: dict[str, Any], numbers: dict[tuple[int, int], int], summary: AttacksSummary, reader: RunReader
) -> Triple:
    position, column = int(arrays["positions"][place]), int(first_column(arrays["outcome"][place : place + 1])[0])
    before, after = (reader.classes[int(arrays["taken"][place, c])] for c in (0, column))
    label = reader.classes[int(arrays["labels"][place])]
    factor = float(reader.array("attacks", STAGE, "pictures.amplified")[numbers[position, CHANGE]])
    src = {part: reader.kept_picture("attacks", STAGE, numbers[position, part]) for part in (ORIGINAL, CHANGE, RESULT)}
    return Triple(
        href=reader.link(Subject("image", reader.run_id, row=position + reader.split_start)),
        text=f"{NORMS[summary.norm]} ε = {summary.levels[column - 1].text}, {_by(place, column, arrays)}",
        pictures=[
            Shown(src=src[ORIGINAL], alt=f"{label}, original: taken for {before}", text=before, wrong=False),
            Shown(src=src[CHANGE], alt="The change, amplified", text=f"change, amplified ×{factor:.3g}", wrong=None),
            Shown(src=src[RESULT], alt=f"{label}, changed: taken for {after}", text=after, wrong=True),
        ],
    )


def _arrays(reader: RunReader) -> dict[str, Any]:
    names = ("positions", "labels", "outcome", "by", "margin", "taken")
    return {name: reader.array("attacks", STAGE, name) for name in names}


def _numbers(reader: RunReader) -> dict[tuple[int, int], int]:
    """The number of each kept picture by position and part."""
    places = reader.array("attacks", STAGE, "pictures.of").tolist()
    return {(position, part): number for number, (position, part) in enumerate(places)}
