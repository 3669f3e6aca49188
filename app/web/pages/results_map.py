"""The map of a run, and what people do with images that they picked on it."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app.audits.base import Subject
from app.audits.pieces import Estimate, Thumb
from app.errors import UserError
from app.services import annotate
from app.services.proportions import estimate
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import Form, text
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, render_panels
from app.web.reader import LiveReader
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Map")
SHOWN = 60
MOST_PICKED = 100_000


class MapPage(BaseModel):
    """The map, as the run's kinds drew it."""

    run: RunHead
    colour: str = Field(description="error, slice or class.")
    panels: list[ShownPanel]


class PickedPage(BaseModel):
    """Images that somebody picked, before they are saved as a slice."""

    run: RunHead
    rows: str = Field(description="Data set rows with commas between them.")
    total: int
    errors: Estimate = Field(description="Error rate of the picked images, fit and confirm; no test.")
    items: list[Thumb]
    left_out: int
    origin: str = Field(description="lasso, or hypothesis when a question named them.")
    form: Form


@pages.page("/runs/{run_id}/map", "results/map.html")
def map_page(access: ProjectAccess, run_id: int, colour: str = "error") -> MapPage:
    """The embedding map: every drawn image at its place, coloured by error, slice or class."""
    reader = open_run(access, run_id)
    chosen = colour if colour in {"error", "slice", "class"} else "error"
    panels = render_panels(Subject("map", run_id), reader, reader.run.kinds)
    return MapPage(run=run_head(access, reader), colour=chosen, panels=panels)


@pages.html.post("/runs/{run_id}/picked")
def show_picked(request: Request, access: ProjectAccess, run_id: int, sent: SentForm) -> Response:
    """Show picked images; a POST only because so many numbers fit in no address."""
    page = _picked(access, run_id, _rows(text(sent, "rows")), Form.typed(sent))
    return render(request, "results/picked.html", page)


@pages.html.post("/runs/{run_id}/picked/save")
def save_picked(request: Request, access: ProjectAccess, run_id: int, sent: SentForm) -> Response:
    """Save picked images as a slice; it is then measured on confirm images."""
    reader = open_run(access, run_id, "analyst")
    rows = _rows(text(sent, "rows"))
    try:
        kind = reader.run.kinds[0]
        origin = "hypothesis" if text(sent, "origin") == "hypothesis" else "lasso"
        made = annotate.save_slice(access.session, reader.run, kind, rows, access.user, text(sent, "title"), origin)
    except UserError as error:
        access.session.rollback()
        page = _picked(access, run_id, rows, Form.typed(sent, error))
        return render(request, "results/picked.html", page, error.status)
    return RedirectResponse(url(f"{home(reader.run)}/slices/{made.id}"), 303)


def _picked(access: Access, run_id: int, rows: list[int], form: Form) -> PickedPage:
    reader = open_run(access, run_id)
    known = reader.score_reader.by_rows(rows[:SHOWN])
    return PickedPage(
        run=run_head(access, reader),
        rows=",".join(map(str, rows)),
        total=len(rows),
        errors=_errors(reader, rows),
        items=[reader.thumb(known[row]) for row in rows[:SHOWN] if row in known],
        left_out=max(len(rows) - SHOWN, 0),
        origin=form.value("origin", "lasso"),
        form=form,
    )


def _errors(reader: LiveReader, rows: list[int]) -> Estimate:
    condition = "row IN (SELECT unnest(?)) AND correct IS NOT NULL"
    wrong = reader.count(f"{condition} AND NOT correct", [rows])
    return estimate(wrong, reader.count(condition, [rows]))


def _rows(sent: str) -> list[int]:
    words = sent.split(",")
    if len(words) > MOST_PICKED or not all(word.isascii() and word.isdigit() and len(word) < 19 for word in words):
        raise UserError(f"Pick 1 to {MOST_PICKED:,} images on the map first.")
    return list(dict.fromkeys(int(word) for word in words))
