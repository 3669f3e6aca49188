"""The training images that a slice depends on: asked of a worker, kept, shown with what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.influence.group_schema import GroupAnswer, GroupEnds, Scored
from app.audits.influence.page_ends import AllEnds, all_ends, ends, training_thumb
from app.audits.influence.page_stability import Steadiness, steadiness
from app.audits.influence.ranking import ranked
from app.audits.influence.schema import InfluenceSummary
from app.audits.pieces import Thumb

ACTION = "behind_slice"
ACTIVE = ("queued", "running")
DIRECTION = (
    "A helpful training image (+) speaks for the true class of the images of the slice, a harmful one against it."
)


class Behind(AllEnds):
    """Training images behind a slice, or the way to ask for them."""

    members: int = Field(description="Images of the slice; 0 before the answer.")
    waiting: bool
    error: str
    href: str = Field(description="Path that asks for them when posted to and is this block when read; empty: asked.")
    slice_href: str = Field(description="Path of the slice's page.")
    partly: list[str] = Field(description="Methods that were asked of a sample of the members, in words.")


def behind(subject: Subject, summary: InfluenceSummary, reader: RunReader) -> Behind:
    """Return what is known of the training images behind a slice."""
    page = reader.link(subject)
    asked = reader.asked("influence", ACTION, subject.finding_id or 0, by="finding_id")
    if asked is not None and asked.status == "succeeded":
        return _found(asked.result, summary, reader, _empty(summary, page))
    waiting, error = asked is not None and asked.status in ACTIVE, asked.error if asked is not None else ""
    return _empty(summary, page).model_copy(update={"waiting": waiting, "error": error, "href": f"{page}/behind"})


def behind_panel(result: Mapping[str, Any], reader: RunReader) -> Panel:
    """Return a worker's answer on a page of its own."""
    summary = InfluenceSummary.model_validate(reader.summary("influence"))
    context = _found(result, summary, reader, _empty(summary, ""))
    return Panel("influence-behind", "Training images behind the slice", "influence/slice.html", context)


def _empty(summary: InfluenceSummary, page: str) -> Behind:
    nothing = {"note": "", "members": 0, "waiting": False, "error": "", "href": "", "slice_href": page, "partly": []}
    return Behind.model_validate({**all_ends([], summary, DIRECTION), **nothing})


def _found(result: Mapping[str, Any], summary: InfluenceSummary, reader: RunReader, around: Behind) -> Behind:
    answer = GroupAnswer.model_validate(result)
    by_method = {found.method: found for found in answer.methods}
    known = [m for m in ranked(summary.methods) if m.method in by_method and not m.reason]
    shown = [
        ends(
            m,
            summary,
            _thumbs(by_method[m.method].helpful, reader),
            _thumbs(by_method[m.method].harmful, reader),
            _steady(by_method[m.method], summary),
        )
        for m in known
    ]
    updates = {
        **all_ends(shown, summary, DIRECTION),
        "members": answer.members,
        "href": "",
        "partly": [
            f"{one.title}: mean over a sample of {by_method[m.method].asked:,} members."
            for m, one in zip(known, shown, strict=True)
            if by_method[m.method].asked < answer.members
        ],
    }
    return around.model_copy(update=updates)


def _steady(found: GroupEnds, summary: InfluenceSummary) -> Steadiness | None:
    if found.shared is None or summary.stability is None:
        return None
    return steadiness(found.shared, summary.stability)


def _thumbs(scored: list[Scored], reader: RunReader) -> list[Thumb]:
    return [training_thumb(one.row, one.label, one.score, reader) for one in scored]
