"""SQL of reports, share links, and what a snapshot gathers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from app.store.models import (
    AuditRun,
    Comment,
    Dataset,
    DatasetSplit,
    Finding,
    Model,
    ModelVersion,
    Project,
    Query,
    Report,
    ShareLink,
    User,
    Verdict,
)

SUBJECT = "finding"


def get(session: Session, report_id: int) -> Report | None:
    """Return a report."""
    return session.get(Report, report_id)


def run_parts(session: Session, run: AuditRun) -> tuple[Project, Model, ModelVersion, Dataset, DatasetSplit]:
    """Return what a run belongs to and was made from."""
    row = session.execute(
        select(Project, Model, ModelVersion, Dataset, DatasetSplit)
        .select_from(AuditRun)
        .join(Project, Project.id == AuditRun.project_id)
        .join(ModelVersion, ModelVersion.id == AuditRun.model_version_id)
        .join(Model, Model.id == ModelVersion.model_id)
        .join(Dataset, Dataset.id == AuditRun.dataset_id)
        .join(DatasetSplit, and_(DatasetSplit.dataset_id == Dataset.id, DatasetSplit.name == AuditRun.split))
        .where(AuditRun.id == run.id)
    ).one()
    return row[0], row[1], row[2], row[3], row[4]


def live_findings(session: Session, run_id: int) -> Sequence[Finding]:
    """Return a run's findings, retired ones left out: confirmed first, then by rank."""
    order = (Finding.evidence, Finding.rank, Finding.id)
    return session.scalars(select(Finding).where(Finding.run_id == run_id, ~Finding.retired).order_by(*order)).all()


def newest_verdicts(session: Session, finding_ids: Sequence[int]) -> list[tuple[int, str, str]]:
    """Return (finding id, reviewer, verdict) of each reviewer's newest verdict."""
    rows = session.execute(
        select(Verdict.subject_id, User.name, Verdict.verdict, Verdict.user_id)
        .join(User, User.id == Verdict.user_id)
        .where(Verdict.subject_type == SUBJECT, Verdict.subject_id.in_(finding_ids))
        .order_by(Verdict.id)
    ).all()
    newest = {(row[0], row[3]): (row[0], row[1], row[2]) for row in rows}
    return list(newest.values())


def comments_on(session: Session, finding_ids: Sequence[int]) -> list[tuple[int, str, str, datetime]]:
    """Return (finding id, author, text, moment), oldest first."""
    rows = session.execute(
        select(Comment.subject_id, User.name, Comment.text, Comment.created_at)
        .join(User, User.id == Comment.user_id)
        .where(Comment.subject_type == SUBJECT, Comment.subject_id.in_(finding_ids))
        .order_by(Comment.id)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def asked(session: Session, run_id: int) -> list[tuple[Query, str | None]]:
    """Return (query, who asked) of a run's answered questions, oldest first."""
    rows = session.execute(
        select(Query, User.name)
        .outerjoin(User, User.id == Query.created_by)
        .where(Query.run_id == run_id, Query.status == "succeeded")
        .order_by(Query.id)
    )
    return [(row[0], row[1]) for row in rows]


def reports_of(session: Session, run_id: int) -> Sequence[Report]:
    """Return a run's reports, newest first."""
    return session.scalars(select(Report).where(Report.run_id == run_id).order_by(Report.id.desc())).all()


def links_of(session: Session, report_id: int) -> Sequence[ShareLink]:
    """Return a report's share links, newest first."""
    statement = select(ShareLink).where(ShareLink.report_id == report_id).order_by(ShareLink.id.desc())
    return session.scalars(statement).all()


def link_by_hash(session: Session, token_hash: str) -> ShareLink | None:
    """Return the share link whose token has this hash."""
    return session.scalars(select(ShareLink).where(ShareLink.token_hash == token_hash)).one_or_none()
