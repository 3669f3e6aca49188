"""Home: the person's projects, what runs, and what waits for somebody's judgement."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app.audits.pieces import Link, Thumb
from app.errors import UserError
from app.services import projects as service
from app.store.models import AuditRun
from app.store.repositories import findings, marks, projects, runs
from app.store.repositories.runs import WaitingSlices
from app.web.deps import Access, ProjectAccess, SentForm
from app.web.forms import Form, text
from app.web.pages.run_rows import RunRow, run_row
from app.web.reader import LiveReader
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Home")
SHOWN_PICTURES = 6


class ProjectCard(BaseModel):
    """A project that the person is a member of."""

    id: int
    name: str
    role: str = Field(description="viewer, analyst or owner")
    models: int
    datasets: int
    runs: int


class Waiting(BaseModel):
    """Something that needs a person now."""

    text: str = Field(description="What it is, in a sentence.")
    action: Link
    since: datetime
    thumbs: list[Thumb] = Field(default_factory=list, description="Hard images of the slices that wait.")


class HomePage(BaseModel):
    """Everything on Home."""

    projects: list[ProjectCard]
    recent: list[RunRow] = Field(description="The newest runs of all projects.")
    waiting: list[Waiting] = Field(
        description="What was given to the person, then slices without a verdict and failed runs."
    )
    can_audit: bool = Field(description="Whether the person may start an audit in some project.")
    form: Form


@pages.page("/", "home/show.html")
def home(access: ProjectAccess) -> HomePage:
    """Projects, recent runs, and what needs a person now."""
    return _home(access, Form())


@pages.html.post("/projects")
def make_project(request: Request, access: ProjectAccess, sent: SentForm) -> Response:
    """Make a project that the person owns."""
    try:
        project = service.create(access.session, access.user, text(sent, "name"))
    except UserError as error:
        return render(request, "home/show.html", _home(access, Form.typed(sent, error)), error.status)
    return RedirectResponse(url(f"/projects/{project.id}"), 303)


def _home(access: Access, form: Form) -> HomePage:
    session = access.session
    joined = projects.of_user(session, access.user.id)
    ids = [project.id for project, _ in joined]
    cards = [
        ProjectCard(id=project.id, name=project.name, role=role, **projects.counts(session, project.id)._asdict())
        for project, role in joined
    ]
    recent = [run_row(session, named) for named in runs.page(session, ids, limit=8)]
    return HomePage(
        projects=cards,
        recent=recent,
        waiting=_waiting(access, ids),
        can_audit=any(role != "viewer" for _, role in joined),
        form=form,
    )


def _waiting(access: Access, project_ids: list[int]) -> list[Waiting]:
    given = marks.waiting_for(access.session, access.user.id, project_ids)
    mine = [_given(entry.run, len(entry.ids), _pictures(access, entry)) for entry in given]
    unseen = runs.unreviewed(access.session, project_ids)
    waiting = [_unreviewed(entry.run, len(entry.ids), _pictures(access, entry)) for entry in unseen]
    for named in runs.page(access.session, project_ids, limit=4, status="failed"):
        link = Link(text="See why", href=f"/runs/{named.run.id}")
        text_ = f"“{named.run.name}” failed."
        waiting.append(Waiting(text=text_, action=link, since=named.run.finished_at or named.run.created_at))
    return mine + sorted(waiting, key=lambda entry: entry.since, reverse=True)


def _given(run: AuditRun, slices: int, thumbs: list[Thumb]) -> Waiting:
    words = "1 slice waits" if slices == 1 else f"{slices} slices wait"
    link = Link(text="Judge", href=f"/runs/{run.id}/slices?assigned=me")
    since = run.finished_at or run.created_at
    return Waiting(text=f"{words} for you in “{run.name}”.", action=link, since=since, thumbs=thumbs)


def _pictures(access: Access, waiting: WaitingSlices) -> list[Thumb]:
    """The hardest image of each of the first slices that wait, so that one sees what it is about."""
    found = findings.of_run(access.session, waiting.run.id, id=waiting.ids[:SHOWN_PICTURES])
    hardest = [finding.metrics["hard_rows"][0] for finding in found if finding.metrics.get("hard_rows")]
    if not hardest:
        return []
    return [thumb for thumb in LiveReader(access.session, waiting.run).thumbs(hardest) if thumb]


def _unreviewed(run: AuditRun, slices: int, thumbs: list[Thumb]) -> Waiting:
    words = "1 confirmed slice has" if slices == 1 else f"{slices} confirmed slices have"
    link = Link(text="Review", href=f"/runs/{run.id}/slices?evidence=confirmed")
    since = run.finished_at or run.created_at
    return Waiting(text=f"{words} no verdict yet in “{run.name}”.", action=link, since=since, thumbs=thumbs)
