"""Panels of the kind `slices` on runs, classes, slices, images and the map."""

from __future__ import annotations

from collections.abc import Callable

from app.audits.base import Panel, RunReader, Subject
from app.audits.slices.page_class import class_panels
from app.audits.slices.page_image import image_panels
from app.audits.slices.page_map import map_panels
from app.audits.slices.page_run import run_panels
from app.audits.slices.page_slice import slice_panels

_PANELS: dict[str, Callable[[Subject, RunReader], list[Panel]]] = {
    "run": run_panels,
    "report": run_panels,
    "class": class_panels,
    "slice": slice_panels,
    "image": image_panels,
    "map": map_panels,
}


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    make = _PANELS.get(subject.type)
    return make(subject, reader) if make and reader.summary("slices") else []
