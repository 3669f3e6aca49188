"""Panels of the kind `slices` on runs, classes, slices, images and the map."""

from __future__ import annotations

from app.audits.base import Panel, RunReader, Subject


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`."""
    return []
