"""Panels: what the kinds of a run have to say of a subject. Pages compose them and know no kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, SerializeAsAny

from app import audits
from app.audits.base import RunReader, Subject


class ShownPanel(BaseModel):
    """A block of a page that a kind fills; `template` draws it with `panel.context`."""

    key: str = Field(description="Stable name, and the block's anchor on the page.")
    title: str
    kind: str = Field(description="The audit kind that it comes from.")
    template: str = Field(exclude=True)
    context: SerializeAsAny[BaseModel] = Field(description="What it shows; its form belongs to the kind.")


def render_panels(subject: Subject, reader: RunReader, kinds: list[str]) -> list[ShownPanel]:
    """Return the panels of all `kinds` for `subject`, in their order."""
    found: list[tuple[int, ShownPanel]] = []
    known = audits.kinds()
    for name in kinds:
        for panel in known[name].panels(subject, reader) if name in known else ():
            fields: dict[str, Any] = {"key": panel.key, "title": panel.title, "template": panel.template}
            found.append((panel.order, ShownPanel(kind=name, context=panel.context, **fields)))
    return [panel for _, panel in sorted(found, key=lambda entry: entry[0])]
