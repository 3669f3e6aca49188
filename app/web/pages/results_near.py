"""The images nearest to one among all of a run: asked for, and looked for again while a worker compares."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from app.audits.base import Subject
from app.errors import NotFound
from app.services import ask as service
from app.web.card import answering
from app.web.deps import ProjectAccess
from app.web.pages.results_run import open_run
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Images")
PATH = "/runs/{run_id}/images/{row}/near"


class NearFragment(BaseModel):
    """The block alone."""

    panel: ShownPanel


@pages.html.post(PATH)
def near_form(access: ProjectAccess, run_id: int, row: int) -> Response:
    """Have a worker compare an image with all others; it tests nothing, so that viewers may ask too."""
    reader = _with_image(access, run_id, row)
    kind = next(iter(answering(reader, service.NEIGHBOURS)), None)
    if kind is None:
        raise NotFound("No kind of this run looks for nearest images.")
    service.neighbours(access.session, reader.run, kind, row - reader.split_start, access.user)
    panel = f"#{kind}-near"
    return RedirectResponse(url(reader.link(Subject("image", run_id, row=row))) + panel, 303)


@pages.html.get(PATH)
def near_fragment(request: Request, access: ProjectAccess, run_id: int, row: int) -> Response:
    """The block of nearest images alone, for the page that waits for it."""
    reader = _with_image(access, run_id, row)
    shown = render_panels(Subject("image", run_id, row=row), reader, reader.run.kinds)
    panel = next((entry for entry in shown if entry.key.endswith("-near")), None)
    if panel is None:
        raise NotFound("No kind of this run looks for nearest images.")
    return render(request, panel.template, NearFragment(panel=panel))


def _with_image(access: ProjectAccess, run_id: int, row: int) -> LiveReader:
    reader = open_run(access, run_id)
    if reader.score_reader.one(row) is None:
        raise NotFound(f"The image {row:,} is not in the split that this run audited.")
    return reader
