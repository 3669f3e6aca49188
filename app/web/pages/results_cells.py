"""A part of a kind's results with a page of its own, and the pictures that stages left."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from app.audits.base import Subject
from app.audits.pixels import ENDS, PICTURES
from app.errors import NotFound
from app.web.deps import ProjectAccess, etag
from app.web.pages.results_run import RunHead, open_run, run_head
from app.web.panels import ShownPanel, render_panels
from app.web.twins import Pages

pages = Pages("Runs")


class CellPage(BaseModel):
    """Everything on the page of a part of a kind's results."""

    run: RunHead
    title: str
    panels: list[ShownPanel]


@pages.page("/runs/{run_id}/cells/{kind}/{key}", "results/cell.html")
def cell(access: ProjectAccess, run_id: int, kind: str, key: str) -> CellPage:
    """A part of a kind's results, such as one kind of corruption at one severity."""
    reader = open_run(access, run_id)
    known = [kind] if kind in reader.run.kinds else []
    panels = render_panels(Subject("cell", run_id, key=f"{kind}/{key}"), reader, known)
    if not panels:
        raise NotFound("This run measured nothing of that name.")
    return CellPage(run=run_head(access, reader), title=panels[0].title, panels=panels)


@pages.html.get("/runs/{run_id}/kept/{kind}/{stage}/{number}")
def kept_picture(request: Request, access: ProjectAccess, run_id: int, kind: str, stage: str, number: int) -> Response:
    """A picture that a stage left, WebP."""
    reader = open_run(access, run_id)
    ends = reader.array(kind, stage, ENDS)
    if not 0 <= number < len(ends):
        raise NotFound("This run kept no picture of that number.")
    tag = etag(reader.run.details_keys[f"{kind}:{stage}"], number, False)
    headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable"}
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    start = int(ends[number - 1]) if number else 0
    data = reader.array(kind, stage, PICTURES)[start : int(ends[number])].tobytes()
    return Response(data, media_type="image/webp", headers=headers)
