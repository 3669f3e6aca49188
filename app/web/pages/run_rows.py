"""A run as one line of a list."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.store.repositories import jobs
from app.store.repositories.runs import Named


class RunRow(BaseModel):
    """One line of a list of runs."""

    id: int
    name: str
    project: str
    model: str
    version: int
    dataset: str
    split: str
    status: str = Field(description="queued, running, succeeded, failed or cancelled")
    share_done: float = Field(description="How much of the work is done, between 0 and 1.")
    created_at: datetime


def run_row(session: Session, named: Named) -> RunRow:
    """Return the line of a run."""
    run = named.run
    share = 1.0 if run.status == "succeeded" else _share(session, run.id) if run.status == "running" else 0.0
    return RunRow(
        id=run.id,
        name=run.name,
        project=named.project.name,
        model=named.model.name,
        version=named.version.number,
        dataset=named.dataset.name,
        split=run.split,
        status=run.status,
        share_done=share,
        created_at=run.created_at,
    )


def _share(session: Session, run_id: int) -> float:
    stages = jobs.stages(session, "run", run_id)
    shares = [1.0 if s.status == "succeeded" else s.done / s.total if s.total else 0.0 for s in stages]
    return sum(shares) / len(shares) if shares else 0.0
