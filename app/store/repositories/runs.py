"""Audit runs, and what of them waits for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.store.models import AuditRun, Dataset, Finding, Model, ModelVersion, Project, Verdict


class Named(NamedTuple):
    """A run with the names of what it is about."""

    run: AuditRun
    model: Model
    version: ModelVersion
    dataset: Dataset
    project: Project


class Unreviewed(NamedTuple):
    """A run and how many of its confirmed slices nobody has judged."""

    run: AuditRun
    slices: int


def get(session: Session, run_id: int) -> AuditRun | None:
    """Return a run."""
    return session.get(AuditRun, run_id)


def add(session: Session, run: AuditRun) -> AuditRun:
    """Store a new run and give it its id."""
    session.add(run)
    session.flush()
    return run


def named(session: Session, run_id: int) -> Named | None:
    """Return a run with the names of what it is about."""
    row = session.execute(_named().where(AuditRun.id == run_id)).first()
    return Named(*row) if row else None


def page(
    session: Session, project_ids: Sequence[int], *, before: int | None = None, limit: int = 30, status: str = ""
) -> list[Named]:
    """Return runs, newest first; `before` is the id where the last page ended."""
    query = _named().where(AuditRun.project_id.in_(project_ids)).order_by(AuditRun.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRun.id < before)
    if status:
        query = query.where(AuditRun.status == status)
    return [Named(*row) for row in session.execute(query)]


def unreviewed(session: Session, project_ids: Sequence[int], limit: int = 8) -> list[Unreviewed]:
    """Return the newest finished runs with confirmed slices on which there is no verdict."""
    judged = select(Verdict.id).where(Verdict.subject_type == "slice", Verdict.subject_id == Finding.id).exists()
    query = (
        select(AuditRun, func.count(Finding.id))
        .join(Finding, Finding.run_id == AuditRun.id)
        .where(
            AuditRun.project_id.in_(project_ids),
            AuditRun.status == "succeeded",
            Finding.subject == "slice",
            Finding.evidence == "confirmed",
            Finding.retired.is_(False),
            ~judged,
        )
        .group_by(AuditRun.id)
        .order_by(AuditRun.id.desc())
        .limit(limit)
    )
    return [Unreviewed(run, slices) for run, slices in session.execute(query)]


def _named() -> Select[tuple[AuditRun, Model, ModelVersion, Dataset, Project]]:
    columns = select(AuditRun, Model, ModelVersion, Dataset, Project)
    joined = columns.join(ModelVersion, ModelVersion.id == AuditRun.model_version_id)
    joined = joined.join(Model, Model.id == ModelVersion.model_id).join(Dataset, Dataset.id == AuditRun.dataset_id)
    return joined.join(Project, Project.id == AuditRun.project_id)
