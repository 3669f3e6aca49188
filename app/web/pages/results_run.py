"""What all result pages of a run have in common: the finished run, its reader, and the way around it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.errors import Conflict
from app.store.models import AuditRun
from app.store.repositories.projects import Role
from app.web.deps import Access
from app.web.reader import LiveReader


class RunHead(BaseModel):
    """The run that a result page belongs to."""

    id: int
    name: str
    dataset: str
    split: str
    crumbs: list[tuple[str, str]] = Field(description="Text and path of what it lies in.")
    may_judge: bool = Field(description="Whether the person may judge, comment and ask.")


def open_run(access: Access, run_id: int, role: Role = "viewer") -> LiveReader:
    """Return the reader of a finished run.

    Raises:
        NotFound: there is no such run for this person.
        Conflict: it has no results yet.
    """
    run = access.run(run_id, role)
    if run.status != "succeeded" or not run.scores_key:
        raise Conflict(f"“{run.name}” has no results yet: it is {run.status}. Its page shows how far it is.")
    return LiveReader(access.session, run)


def run_head(access: Access, reader: LiveReader) -> RunHead:
    """Return what stands above every result page."""
    run = reader.run
    return RunHead(
        id=run.id,
        name=run.name,
        dataset=reader.dataset.name,
        split=run.split,
        crumbs=[("Runs", "/runs"), (run.name, home(run))],
        may_judge=access.may(run.project_id, "analyst"),
    )


def home(run: AuditRun) -> str:
    """Return the path of the run's own page."""
    return f"/runs/{run.id}"
