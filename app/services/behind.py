"""Asking a worker which training images a slice depends on."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.services import ask
from app.services.membership import member_rows
from app.store.models import AuditRun, Finding, Query, User
from app.store.repositories import queries

BEHIND = "behind_slice"
BY = "finding_id"


def behind_slice(session: Session, run: AuditRun, kind: str, finding: Finding, user: User) -> Query:
    """Have `kind` attribute a slice; it spends no confirm images. Who asks again gets the earlier question.

    Raises:
        Conflict: the run has not finished.
    """
    earlier = queries.latest_about(session, run.id, kind, BEHIND, finding.id, BY)
    if earlier is not None and earlier.status not in {"failed", "cancelled"}:
        return earlier
    positions = (member_rows(run, finding) - ask.split_start(session, run)).tolist()
    return ask.ask(session, run, kind, BEHIND, {"rows": positions, BY: finding.id}, user)
