"""Runs: the list, a run's progress and report card, and cancel, resume, run again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from app.audits.base import Subject
from app.errors import FieldError
from app.services import request_audit
from app.services.request_audit import RunRequest
from app.store.models import AuditRun
from app.store.repositories import runs
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import text
from app.web.pages.results_files import FileRow, file_rows
from app.web.pages.run_rows import RunRow, run_row
from app.web.panels import ShownPanel, render_panels
from app.web.progress import Progress, progress_of
from app.web.reader import LiveReader
from app.web.scope import ProjectChoice, scope
from app.web.templating import fragment, url
from app.web.twins import Pages

pages = Pages("Runs")
PAGE_ROWS = 30


class RunsPage(BaseModel):
    """A page of runs, newest first."""

    choice: ProjectChoice
    runs: list[RunRow]
    next: str = Field(description="Path of the next page, empty on the last one.")
    can_audit: bool


class RunPage(BaseModel):
    """One run: its progress while it works, its report card when it is done."""

    id: int
    name: str
    project_id: int
    project: str
    model_id: int
    model: str
    version: int
    dataset_id: int
    dataset: str
    split: str
    train_split: str
    encoder: str
    kinds: list[str]
    params: dict[str, Any]
    seed: int
    status: str = Field(description="queued, running, succeeded, failed or cancelled")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    provenance: dict[str, Any] = Field(description="Hashes of data, model, code and parameters.")
    can_change: bool = Field(description="Whether the asking person may cancel, resume and run again.")
    progress: Progress
    panels: list[ShownPanel] = Field(description="The report card, as the run's kinds fill it.")
    files: list[FileRow] = Field(description="What its kinds hand out as files of numbers.")


class RunState(BaseModel):
    """What became of a request to start, cancel or resume a run."""

    id: int
    status: str


@pages.page("/runs", "runs/list.html")
def list_runs(access: ProjectAccess, project: int | None = None, before: int | None = None) -> RunsPage:
    """Runs, newest first; a page ends where `next` goes on."""
    choice = scope(access, project, "/runs")
    found = runs.page(access.session, choice.ids, before=before, limit=PAGE_ROWS)
    rows = [run_row(access.session, named) for named in found]
    following = choice.path(before=rows[-1].id) if len(rows) == PAGE_ROWS else ""
    return RunsPage(choice=choice, runs=rows, next=following, can_audit=choice.may_add)


@pages.page("/runs/{run_id}", "runs/show.html")
def show_run(access: ProjectAccess, run_id: int) -> RunPage:
    """A run's progress, and its report card once it is done."""
    run = access.run(run_id)
    named = runs.named(access.session, run.id)
    assert named is not None
    reader = LiveReader(access.session, run) if run.status == "succeeded" and run.scores_key else None
    fields = ("id", "name", "project_id", "dataset_id", "split", "train_split", "encoder", "kinds", "params", "seed")
    moments = ("status", "created_at", "started_at", "finished_at", "provenance")
    return RunPage(
        **{name: getattr(run, name) for name in (*fields, *moments)},
        project=named.project.name,
        model_id=named.model.id,
        model=named.model.name,
        version=named.version.number,
        dataset=named.dataset.name,
        can_change=access.may(run.project_id, "analyst"),
        progress=progress_of(access.session, "run", run.id, run.status, run.error),
        panels=render_panels(Subject("run", run.id), reader, run.kinds) if reader else [],
        files=file_rows(reader) if reader else [],
    )


@pages.html.get("/runs/{run_id}/progress")
def run_progress(access: ProjectAccess, run_id: int) -> Response:
    """The progress alone, for the page that polls it; when the run has ended, the page loads itself anew."""
    run = access.run(run_id)
    progress = progress_of(access.session, "run", run.id, run.status, run.error)
    html = fragment("_partials/progress.html", progress=progress, poll=f"/runs/{run.id}/progress")
    return HTMLResponse(html, headers={} if progress.active else {"HX-Refresh": "true"})


@pages.html.post("/runs/{run_id}/cancel")
def cancel(access: ProjectAccess, run_id: int) -> Response:
    """Cancel a run."""
    request_audit.cancel(access.session, access.run(run_id, "analyst"), access.user)
    return _to(run_id)


@pages.html.post("/runs/{run_id}/resume")
def resume(access: ProjectAccess, run_id: int) -> Response:
    """Resume a run that failed or was cancelled."""
    request_audit.resume(access.session, access.run(run_id, "analyst"), access.user)
    return _to(run_id)


@pages.html.post("/runs/{run_id}/again")
def again(access: ProjectAccess, sent: SentForm, run_id: int) -> Response:
    """Start the same audit once more: with its own seed, with the one that the form names, or with `new`."""
    run, chosen = access.run(run_id, "analyst"), text(sent, "seed")
    if chosen and chosen != "new" and not (chosen.isascii() and chosen.isdigit() and len(chosen) < 10):
        raise FieldError("seed", f"“{chosen}” is no seed. Give a whole number below 1,000,000,000, or leave it empty.")
    seed = request_audit.another_seed() if chosen == "new" else int(chosen) if chosen else None
    return _to(request_audit.run_again(access.session, run, access.user, seed).id)


@pages.api.post("/runs", status_code=201)
def start_run(access: ProjectAccess, project_id: int, wanted: RunRequest) -> RunState:
    """Start an audit."""
    access.project(project_id, "analyst")
    return _state(request_audit.request_audit(access.session, project_id, access.user, wanted))


@pages.api.post("/runs/{run_id}/cancel")
def cancel_run(access: ProjectAccess, run_id: int) -> RunState:
    """Cancel a run; what it finished is kept."""
    run = access.run(run_id, "analyst")
    request_audit.cancel(access.session, run, access.user)
    return _state(_fresh(access, run))


@pages.api.post("/runs/{run_id}/again", status_code=201)
def run_again(access: ProjectAccess, run_id: int, seed: int | None = None) -> RunState:
    """Start the same audit once more, with its own seed unless another is given."""
    run = access.run(run_id, "analyst")
    return _state(request_audit.run_again(access.session, run, access.user, seed))


@pages.api.post("/runs/{run_id}/resume")
def resume_run(access: ProjectAccess, run_id: int) -> RunState:
    """Resume a run that failed or was cancelled."""
    run = access.run(run_id, "analyst")
    request_audit.resume(access.session, run, access.user)
    return _state(_fresh(access, run))


def _fresh(access: Access, run: AuditRun) -> AuditRun:
    access.session.refresh(run)
    return run


def _state(run: AuditRun) -> RunState:
    return RunState(id=run.id, status=run.status)


def _to(run_id: int) -> Response:
    return RedirectResponse(url(f"/runs/{run_id}"), 303)
