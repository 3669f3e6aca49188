"""What pages of stress tests share: which panel answers for what, and the drawn images of a class or slice. No torch.

Stress tests' summaries say in `unavailable` why nothing was measured; empty where something was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import LEAST, of_slice
from app.audits.pieces import Headline

SLICES = 12
"""Slices that a list shows, at most."""


class Summary(Protocol):
    """The summary of a stress test: a pydantic model."""

    unavailable: str

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """Return the summary of these values."""


class DrawnSummary(Protocol):
    """The summary of a stress test that measures some of a split's images."""

    rows: int
    of_rows: int


S = TypeVar("S", bound=Summary)


def summary_of(reader: RunReader, kind: str, schema: type[S]) -> S | None:
    """Return the kind's summary; none when the run has no result of it."""
    raw = reader.summary(kind)
    return schema.model_validate(raw) if raw else None


def measured(reader: RunReader, kind: str, schema: type[S]) -> S | None:
    """Return the kind's summary where it measured something."""
    found = summary_of(reader, kind, schema)
    return None if found is None or found.unavailable else found


def panels_for(
    subject: Subject,
    summary: S | None,
    reader: RunReader,
    whole: Callable[[Subject, S, RunReader], Panel],
    parts: Mapping[str, Callable[[Subject, S, RunReader], Panel | None]],
) -> list[Panel]:
    """Return the panels of a stress test for `subject`: `whole` for all images, else `parts` by the subject's type.

    A report leaves out what was not measured; the robustness page says why it was not.
    """
    if summary is None:
        return []
    if subject.type in {"robustness", "report"}:
        return [] if subject.type == "report" and summary.unavailable else [whole(subject, summary, reader)]
    part = None if summary.unavailable else parts.get(subject.type)
    panel = part(subject, summary, reader) if part else None
    return [panel] if panel else []


def unmeasured(title: str, summary: Summary | None) -> list[Headline]:
    """The headline of a stress test that measured nothing: why; none where the run has no result of it."""
    return [] if summary is None else [Headline(title=title, text=summary.unavailable)]


def not_drawn(summary: DrawnSummary) -> list[str]:
    """How many images were left out, as the first part of what a headline leaves out; empty where none were."""
    rest = summary.of_rows - summary.rows
    return [f"{rest:,} of {summary.of_rows:,} images"] if rest else []


def class_page(reader: RunReader, class_index: int | None) -> str:
    """Path of a class's page."""
    return reader.link(Subject("class", reader.run_id, class_index=class_index))


def slice_page(reader: RunReader, finding_id: int) -> str:
    """Path of a slice's page."""
    return reader.link(Subject("slice", reader.run_id, finding_id=finding_id))


def members(subject: Subject, reader: RunReader, kind: str, stage: str) -> NDArray[np.int64] | None:
    """Return the places of a class's or slice's images among the drawn; none where these are too few."""
    if subject.type == "class":
        places = np.flatnonzero(reader.array(kind, stage, "labels") == subject.class_index)
    else:
        found = reader.findings("slices", id=subject.finding_id)
        places = of_slice(reader, kind, stage, found[0].key) if found else np.zeros(0, np.int64)
    return places if len(places) >= LEAST else None
