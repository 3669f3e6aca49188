"""Panels: what the kinds of a run have to say of a subject. Pages compose them and know no kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field, SerializeAsAny

from app import audits
from app.audits.base import Panel, RunReader, Subject
from app.web.card import answering, ask_box, card
from app.web.robustness import scorecard

CARD_ORDER, ASK_ORDER, STRESS_ORDER = 0, 40, 60


class ShownPanel(BaseModel):
    """A block of a page that a kind fills; `template` draws it with `panel.context`."""

    key: str = Field(description="Stable name, and the block's anchor on the page.")
    title: str
    kind: str = Field(description="The audit kind that it comes from; empty for what every run has.")
    template: str = Field(exclude=True)
    context: SerializeAsAny[BaseModel] = Field(description="What it shows; its form belongs to the kind.")


def render_panels(
    subject: Subject, reader: RunReader, kinds: list[str], more: Sequence[Panel] = ()
) -> list[ShownPanel]:
    """Return the panels of all `kinds` for `subject`, and `more`, in their order; a run has its report card as well."""
    found = [("", panel) for panel in [*more, *(_of_every_run(reader) if subject.type == "run" else [])]]
    known = audits.kinds()
    for name in kinds:
        found += [(name, panel) for panel in known[name].panels(subject, reader)] if name in known else []
    return [shown(kind, panel) for kind, panel in sorted(found, key=lambda entry: entry[1].order)]


def shown(kind: str, panel: Panel) -> ShownPanel:
    """Return a panel as pages and their twins have it."""
    fields: dict[str, Any] = {"key": panel.key, "title": panel.title, "template": panel.template}
    return ShownPanel(kind=kind, context=panel.context, **fields)


def _of_every_run(reader: Any) -> list[Panel]:
    found = card(reader)
    panels = [Panel("card", "Accuracy and calibration", "results/card.html", found, CARD_ORDER)] if found else []
    if answering(reader, "hypothesis"):
        panels.append(Panel("ask", "Ask a question", "results/ask_box.html", ask_box(reader), ASK_ORDER))
    stress = scorecard(reader, reader.run.kinds, f"/runs/{reader.run_id}/robustness")
    if stress:
        panels.append(Panel("robustness", "Robustness", "results/scorecard.html", stress, STRESS_ORDER))
    return panels
