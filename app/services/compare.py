"""Comparing two runs by the training data that their models lean on."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.errors import Conflict
from app.services import ask
from app.store.models import AuditRun, Query, User
from app.store.repositories import queries, runs

COMPARE = "compare"
BY = "other_run_id"


def comparable(session: Session, run: AuditRun, kind: str) -> list[AuditRun]:
    """Return the other finished runs of the project with that kind on the same splits, newest first."""
    return [other for other in runs.on_same_data(session, run) if kind in other.kinds]


def compare_runs(session: Session, run: AuditRun, kind: str, other: AuditRun, user: User) -> Query:
    """Have a worker compare two runs; who asks again gets the earlier question.

    Raises:
        Conflict: the two are not on the same splits of one data set.
    """
    if other.id not in {one.id for one in comparable(session, run, kind)}:
        raise Conflict(
            f"“{other.name}” cannot be compared with this run: both must have finished with this kind of audit on the "
            "same data set, audited split and training split."
        )
    earlier = queries.latest_about(session, run.id, kind, COMPARE, other.id, BY)
    if earlier is not None and earlier.status not in {"failed", "cancelled"}:
        return earlier
    return ask.ask(session, run, kind, COMPARE, {BY: other.id}, user)
