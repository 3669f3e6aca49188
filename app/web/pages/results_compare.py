"""Two runs on the same data: the training data that one model leans on and the other does not."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app import audits
from app.errors import NotFound, UserError
from app.services import compare as service
from app.store.models import AuditRun
from app.store.models import Query as Question
from app.store.repositories import queries
from app.web.card import answering
from app.web.deps import ProjectAccess, SentForm
from app.web.forms import text
from app.web.pages.results_grid import Choice
from app.web.pages.results_run import RunHead, home, open_run, run_head
from app.web.panels import ShownPanel, shown
from app.web.reader import LiveReader
from app.web.templating import url
from app.web.twins import Pages

pages = Pages("Training data")
ACTIVE = ("queued", "running")


class ComparePage(BaseModel):
    """Two runs side by side."""

    run: RunHead
    choices: list[Choice] = Field(description="Runs that this one can be compared with: number and name.")
    other: Choice | None = Field(description="The run that it is compared with.")
    waiting: bool
    asked: bool = Field(description="Whether somebody had the two compared.")
    error: str
    panel: ShownPanel | None = Field(description="The answer, as the kind shows it.")
    href: str = Field(description="Path that asks when posted to.")


@pages.page("/runs/{run_id}/compare", "results/compare.html")
def compare_page(
    access: ProjectAccess, run_id: int, with_: Annotated[int | None, Query(alias="with")] = None
) -> ComparePage:
    """What one run's model leans on in training and another's does not."""
    reader = open_run(access, run_id)
    kind = _kind(reader)
    asked = _asked(access, reader.run, kind, with_)
    others = service.comparable(access.session, reader.run, kind)
    answered = asked is not None and asked.status == "succeeded"
    panel = audits.kind(kind).answer(service.COMPARE, asked.result, reader) if asked and answered else None
    return ComparePage(
        run=run_head(access, reader),
        choices=[Choice(value=str(one.id), text=_name(one)) for one in others],
        other=None if with_ is None else Choice(value=str(with_), text=_name(access.run(with_))),
        waiting=asked is not None and asked.status in ACTIVE,
        asked=asked is not None,
        error=asked.error if asked else "",
        panel=shown(kind, panel) if panel else None,
        href=f"{home(reader.run)}/compare",
    )


@pages.html.post("/runs/{run_id}/compare")
def compare_form(access: ProjectAccess, run_id: int, sent: SentForm) -> Response:
    """Have a worker compare two runs; it tests nothing, so that viewers may ask too."""
    reader = open_run(access, run_id)
    chosen = text(sent, "with")
    if not chosen.isdigit():
        raise UserError("Choose a run to compare with.")
    service.compare_runs(access.session, reader.run, _kind(reader), access.run(int(chosen)), access.user)
    return RedirectResponse(url(f"{home(reader.run)}/compare?with={chosen}"), 303)


@pages.html.get("/runs/{run_id}/compare/answer")
def compared(access: ProjectAccess, run_id: int, with_: Annotated[int | None, Query(alias="with")] = None) -> Response:
    """Whether the comparison is done; once it is, the page loads itself anew."""
    reader = open_run(access, run_id)
    asked = _asked(access, reader.run, _kind(reader), with_)
    done = asked is not None and asked.status not in ACTIVE
    return Response(status_code=204, headers={"HX-Refresh": "true"} if done else {})


def _asked(access: ProjectAccess, run: AuditRun, kind: str, other: int | None) -> Question | None:
    if other is None:
        return None
    return queries.latest_about(access.session, run.id, kind, service.COMPARE, other, service.BY)


def _kind(reader: LiveReader) -> str:
    found = answering(reader, service.COMPARE)
    if not found:
        raise NotFound("No kind of this run compares runs.")
    return found[0]


def _name(run: AuditRun) -> str:
    return f"{run.name} (run {run.id})"
