"""Panels of the kind `datamodels`: what networks trained on random parts of the data say of training images."""

from __future__ import annotations

from app.audits.base import Panel, RunReader, Subject
from app.audits.datamodels.page_image import image_panel
from app.audits.datamodels.page_run import run_context
from app.audits.datamodels.page_slice import slice_panel
from app.audits.datamodels.page_train import train_panels
from app.audits.datamodels.read import KIND, read_summary


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    raw = reader.summary(KIND)
    if not raw or (subject.type == "report" and raw.get("unavailable")):
        return []
    if subject.type in {"run", "report"}:
        return [Panel("datamodels", "Datamodels", "datamodels/run.html", run_context(raw), 62)]
    summary = read_summary(reader)
    if subject.type == "training_image" and subject.row is not None:
        return train_panels(subject.row, summary, reader)
    if summary is None:
        return []
    if subject.type == "image" and subject.row is not None:
        return [image_panel(subject.row, summary, reader)]
    if subject.type == "slice" and subject.finding_id is not None:
        return slice_panel(subject.finding_id, summary, reader)
    return []
