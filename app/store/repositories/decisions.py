"""What people decided about model versions: approvals and retirements, with who, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.models import User, VersionDecision


class Decided(NamedTuple):
    """A decision with the name of who made it."""

    decision: VersionDecision
    user: str


def add(session: Session, decision: VersionDecision) -> VersionDecision:
    """Store a decision."""
    session.add(decision)
    session.flush()
    return decision


def history(session: Session, version_ids: Sequence[int]) -> list[Decided]:
    """Return all decisions about versions, newest first."""
    query = (
        select(VersionDecision, User.name)
        .join(User, User.id == VersionDecision.user_id)
        .where(VersionDecision.version_id.in_(version_ids))
        .order_by(VersionDecision.id.desc())
    )
    return [Decided(decision, user) for decision, user in session.execute(query)]


def standing(session: Session, version_ids: Sequence[int]) -> dict[int, VersionDecision]:
    """Return the newest decision about each version that has one."""
    newest = select(func.max(VersionDecision.id)).where(VersionDecision.version_id.in_(version_ids))
    query = select(VersionDecision).where(VersionDecision.id.in_(newest.group_by(VersionDecision.version_id)))
    return {decision.version_id: decision for decision in session.scalars(query)}
