"""The training images behind a slice: asked for, and looked for again while a worker sums over its members."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from app.audits.base import Subject
from app.errors import NotFound
from app.services import behind as service
from app.store.models import Finding
from app.web.card import answering
from app.web.deps import ProjectAccess
from app.web.pages.results_run import open_run
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Slices")
PATH = "/runs/{run_id}/slices/{finding_id}/behind"
PANEL = "-behind"


class BehindFragment(BaseModel):
    """The block alone."""

    panel: ShownPanel


@pages.html.post(PATH)
def behind_form(access: ProjectAccess, run_id: int, finding_id: int) -> Response:
    """Have a worker attribute a slice to training images; it tests nothing, so that viewers may ask too."""
    reader, finding = _slice(access, run_id, finding_id)
    kind = next(iter(answering(reader, service.BEHIND)), None)
    if kind is None:
        raise NotFound("No kind of this run attributes slices to training images.")
    service.behind_slice(access.session, reader.run, kind, finding, access.user)
    return RedirectResponse(url(reader.link(_subject(finding))) + f"#{kind}{PANEL}", 303)


@pages.html.get(PATH)
def behind_fragment(request: Request, access: ProjectAccess, run_id: int, finding_id: int) -> Response:
    """The block of training images alone, for the page that waits for it."""
    reader, finding = _slice(access, run_id, finding_id)
    shown = render_panels(_subject(finding), reader, answering(reader, service.BEHIND))
    panel = next((entry for entry in shown if entry.key.endswith(PANEL)), None)
    if panel is None:
        raise NotFound("No kind of this run attributes slices to training images.")
    return render(request, panel.template, BehindFragment(panel=panel))


def _slice(access: ProjectAccess, run_id: int, finding_id: int) -> tuple[LiveReader, Finding]:
    reader, finding = open_run(access, run_id), access.finding(finding_id)
    if finding.run_id != run_id or finding.subject != "slice":
        raise NotFound("There is no such slice in this run.")
    return reader, finding


def _subject(finding: Finding) -> Subject:
    return Subject("slice", finding.run_id, finding.class_index, finding.id)
