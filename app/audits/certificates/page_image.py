"""What is proven of one image, what broke it, and the counterexamples of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.certificates.schema import (
    BROKEN,
    COMPLETE,
    NOT_REPLAYED,
    PROVEN,
    STEPS,
    TIMEOUT,
    TOO_LARGE,
    CertificatesSummary,
)
from app.audits.certificates.words import MEANING
from app.audits.certificates.worst import first_broken, worst_places
from app.audits.triples import KeptPictures, Triple
from app.errors import NotFound

STAGE = "summarise"
_GAVE_UP = {
    TIMEOUT: "; complete verification ran out of time",
    TOO_LARGE: "; the network is too large for complete verification",
    NOT_REPLAYED: "; what complete verification found does not make the network itself wrong",
}


class ImageCertificates(BaseModel):
    """What is known of one image."""

    sentence: str
    radius: float | None = Field(description="Proven radius; none where radii were not looked for.")
    levels: list[tuple[str, str]] = Field(description="ε and what is known there.")
    triple: Triple | None
    kept: str = Field(description="Why there are no pictures, where there are none.")
    meaning: str


def triples(summary: CertificatesSummary, reader: RunReader, most: int) -> list[Triple]:
    """The images that broke worst, of those that were kept; none in a report that holds no pictures."""
    try:
        arrays, kept = _arrays(reader), KeptPictures.of(reader, "certificates", STAGE)
    except NotFound:
        return []
    places = worst_places(arrays["found"], arrays["margin"]).tolist()
    known = [place for place in places if int(arrays["positions"][place]) in kept][:most]
    found = [_triple(place, arrays, kept, summary, reader) for place in known]
    return [triple for triple in found if all(shown.src for shown in triple.pictures)]


def image_panel(subject: Subject, summary: CertificatesSummary, reader: RunReader) -> Panel | None:
    """Return what is known of an image; none where it was not drawn."""
    arrays = _arrays(reader)
    found = np.flatnonzero(arrays["positions"] == (subject.row or 0) - reader.split_start)
    if subject.row is None or not len(found):
        return None
    place, kept = int(found[0]), KeptPictures.of(reader, "certificates", STAGE)
    has = int(arrays["positions"][place]) in kept
    broke = first_broken(arrays["found"][place : place + 1])[0] >= 0
    context = ImageCertificates(
        sentence=_sentence(place, arrays, summary),
        radius=float(arrays["radius"][place]) if summary.median is not None and arrays["right"][place] else None,
        levels=[
            (level.text, _known(place, column, arrays, reader)) for column, level in enumerate(summary.levels)
        ],
        triple=_triple(place, arrays, kept, summary, reader) if has else None,
        kept="Pictures are kept of the images that broke worst only." if broke and not has else "",
        meaning=MEANING,
    )  # fmt: skip
    return Panel("certificates-image", "Proven and broken", "certificates/image.html", context, 44)


def _sentence(place: int, arrays: dict[str, Any], summary: CertificatesSummary) -> str:
    if not arrays["right"][place]:
        return "The model is wrong on this image as it is, so there is nothing to prove."
    state, texts = arrays["state"][place], [level.text for level in summary.levels]
    proven, broken = np.flatnonzero(state == PROVEN), np.flatnonzero(state == BROKEN)
    said = []
    if len(proven):
        said.append(f"proven: no change of up to L∞ ε = {texts[proven[-1]]} makes the model wrong")
    if len(broken):
        said.append(f"broken: a change of at most L∞ ε = {texts[broken[0]]} does make it wrong")
    if len(proven) + len(broken) < len(state):
        said.append("at the other ε neither a proof nor an attack succeeded" if said else "undecided at every ε")
    sentence = "; ".join(said) + "."
    return sentence[0].upper() + sentence[1:]


def _known(place: int, column: int, arrays: dict[str, Any], reader: RunReader) -> str:
    state, by = int(arrays["state"][place, column]), int(arrays["by"][place, column])
    if not arrays["right"][place]:
        return "wrong as it is"
    if state == PROVEN:
        return f"proven by {STEPS[by]}"
    if state == BROKEN:
        taken = reader.classes[int(arrays["taken"][place, column + 1])]
        return f"taken for {taken}; {_finder(by)} found it"
    return "undecided" + _GAVE_UP.get(int(arrays["complete"][place, column]), "")


def _finder(by: int) -> str:
    return f"{STEPS[by]} with a counterexample" if by == COMPLETE else STEPS[by]


def _triple(
    place: int, arrays: dict[str, Any], kept: KeptPictures, summary: CertificatesSummary, reader: RunReader
) -> Triple:
    column = int(first_broken(arrays["found"][place : place + 1])[0])
    before, after = (reader.classes[int(arrays["taken"][place, c])] for c in (0, column + 1))
    text = f"L∞ ε = {summary.levels[column].text}, {STEPS[int(arrays['found'][place, column])]}"
    label = reader.classes[int(arrays["labels"][place])]
    return kept.triple(int(arrays["positions"][place]), text, label, before, after)


def _arrays(reader: RunReader) -> dict[str, Any]:
    names = (
        "positions", "labels", "right", "found", "state", "by", "complete", "margin", "taken", "radius",
    )  # fmt: skip
    return {name: reader.array("certificates", STAGE, name) for name in names}
