"""Images that broke: the original, the change and the result; and what became of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from app.audits.attacks.schema import NAMES, PROVEN, WRONG, AttacksSummary
from app.audits.attacks.words import NORMS
from app.audits.attacks.worst import first_column, worst_places
from app.audits.base import Panel, RunReader, Subject
from app.audits.triples import KeptPictures, Triple
from app.errors import NotFound

STAGE = "summarise"


class ImageAttacks(BaseModel):
    """What became of one image."""

    sentence: str
    levels: list[tuple[str, str]] = Field(description="ε and what happened there.")
    triple: Triple | None
    kept: str = Field(description="Why there are no pictures, where there are none.")


def triples(summary: AttacksSummary, reader: RunReader, most: int) -> list[Triple]:
    """The images that broke worst, of those that were kept; none in a report that holds no pictures."""
    try:
        arrays, kept = _arrays(reader), KeptPictures.of(reader, "attacks", STAGE)
    except NotFound:
        return []
    places = worst_places(arrays["outcome"], arrays["margin"]).tolist()
    known = [place for place in places if int(arrays["positions"][place]) in kept][:most]
    found = [_triple(place, arrays, kept, summary, reader) for place in known]
    return [triple for triple in found if all(shown.src for shown in triple.pictures)]


def image_panel(subject: Subject, summary: AttacksSummary, reader: RunReader) -> Panel | None:
    """Return what became of an image; none where it was not attacked."""
    arrays = _arrays(reader)
    found = np.flatnonzero(arrays["positions"] == (subject.row or 0) - reader.split_start)
    if subject.row is None or not len(found):
        return None
    place, kept = int(found[0]), KeptPictures.of(reader, "attacks", STAGE)
    has = int(arrays["positions"][place]) in kept
    broke = first_column(arrays["outcome"][place : place + 1])[0] > 0
    context = ImageAttacks(
        sentence=_sentence(place, arrays, summary),
        levels=[
            (level.text, _happened(place, column, arrays, reader)) for column, level in enumerate(summary.levels, 1)
        ],
        triple=_triple(place, arrays, kept, summary, reader) if has else None,
        kept="Pictures are kept of the images that broke worst only." if broke and not has else "",
    )
    return Panel("attacks-image", "Under attack", "attacks/image.html", context, 45)


def _sentence(place: int, arrays: dict[str, Any], summary: AttacksSummary) -> str:
    column = int(first_column(arrays["outcome"][place : place + 1])[0])
    norm, last = NORMS[summary.norm], summary.levels[-1].text
    if column == 0:
        return "The model is wrong on this image as it is, so it was not attacked."
    if column < 0 and arrays["by"][place, -1] == PROVEN:
        return f"Proven: no change of up to {norm} ε = {last} makes the model wrong."
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
    if arrays["by"][place, column - 1] == PROVEN:
        return "proven to withstand every attack"
    if arrays["outcome"][place, column]:
        return f"withstood; lowest {margin}"
    taken = reader.classes[int(arrays["taken"][place, column])]
    return f"taken for {taken}; {margin}; {_by(place, column, arrays)}"


def _triple(
    place: int, arrays: dict[str, Any], kept: KeptPictures, summary: AttacksSummary, reader: RunReader
) -> Triple:
    column = int(first_column(arrays["outcome"][place : place + 1])[0])
    before, after = (reader.classes[int(arrays["taken"][place, c])] for c in (0, column))
    text = f"{NORMS[summary.norm]} ε = {summary.levels[column - 1].text}, {_by(place, column, arrays)}"
    label = reader.classes[int(arrays["labels"][place])]
    return kept.triple(int(arrays["positions"][place]), text, label, before, after)


def _arrays(reader: RunReader) -> dict[str, Any]:
    names = ("positions", "labels", "outcome", "by", "margin", "taken")
    return {name: reader.array("attacks", STAGE, name) for name in names}
