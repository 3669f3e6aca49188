"""Tags and assignments: what people hang on findings and images to find them again and to share the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, insert, literal, select, update
from sqlalchemy.orm import Session

from app.store.models import Assignment, Finding, Tag, User, Verdict
from app.store.models.base import utcnow
from app.store.repositories.findings import SUBJECT
from app.store.repositories.runs import WaitingSlices, waiting_slices

IMAGE = "image"
"""The `subject_type` of tags on images."""


class Assigned(NamedTuple):
    """Who is to look at a subject."""

    user_id: int
    user: str


def tags(session: Session, subject_type: str, scope_id: int, ids: Sequence[int]) -> dict[int, list[str]]:
    """Return the tags of subjects by id, in the order of the alphabet."""
    query = select(Tag.subject_id, Tag.name).where(*_of(subject_type, scope_id), Tag.subject_id.in_(ids))
    found: dict[int, list[str]] = {}
    for subject_id, name in session.execute(query.order_by(Tag.name)):
        found.setdefault(subject_id, []).append(name)
    return found


def names(session: Session, subject_type: str, scope_id: int) -> list[str]:
    """Return the tags in use within a scope, in the order of the alphabet."""
    query = select(Tag.name).where(*_of(subject_type, scope_id))
    return list(session.scalars(query.distinct().order_by(Tag.name)))


def tagged(session: Session, subject_type: str, scope_id: int, name: str) -> list[int]:
    """Return the ids of the subjects that have a tag."""
    query = select(Tag.subject_id).where(*_of(subject_type, scope_id), Tag.name == name)
    return list(session.scalars(query.order_by(Tag.subject_id)))


def add_tag(session: Session, tag: Tag) -> None:
    """Store a tag; one that is there already stays as it is."""
    same = (*_of(tag.subject_type, tag.scope_id), Tag.subject_id == tag.subject_id, Tag.name == tag.name)
    if session.scalar(select(Tag.id).where(*same)) is None:
        session.add(tag)
        session.flush()


def remove_tag(session: Session, subject_type: str, scope_id: int, subject_id: int, name: str) -> None:
    """Take a tag off a subject."""
    same = (*_of(subject_type, scope_id), Tag.subject_id == subject_id, Tag.name == name)
    session.execute(delete(Tag).where(*same))


def assigned(session: Session, subject_type: str, ids: Sequence[int]) -> dict[int, Assigned]:
    """Return who is to look at each subject, by its id."""
    query = (
        select(Assignment.subject_id, User.id, User.name)
        .join(User, User.id == Assignment.user_id)
        .where(Assignment.subject_type == subject_type, Assignment.subject_id.in_(ids))
    )
    return {subject_id: Assigned(user_id, name) for subject_id, user_id, name in session.execute(query)}


def assigned_ids(session: Session, run_id: int, user_id: int) -> list[int]:
    """Return the findings of a run that were given to a person."""
    query = select(Finding.id).join(Assignment, Assignment.subject_id == Finding.id)
    query = query.where(Assignment.subject_type == SUBJECT, Assignment.user_id == user_id, Finding.run_id == run_id)
    return list(session.scalars(query.order_by(Finding.id)))


def assignees(session: Session, run_id: int) -> list[Assigned]:
    """Return the people to whom slices in force of a run were given, by name."""
    query = select(User.id, User.name).join(Assignment, Assignment.user_id == User.id)
    query = query.join(Finding, Finding.id == Assignment.subject_id)
    query = query.where(Assignment.subject_type == SUBJECT, Finding.run_id == run_id, Finding.retired.is_(False))
    return [Assigned(*row) for row in session.execute(query.distinct().order_by(User.name, User.id))]


def assign(session: Session, subject_type: str, subject_id: int, user_id: int | None, by: int) -> None:
    """Give a subject to a person, in place of whoever had it; None takes it from them."""
    same = (Assignment.subject_type == subject_type, Assignment.subject_id == subject_id)
    session.execute(delete(Assignment).where(*same))
    if user_id is not None:
        given = {"subject_type": subject_type, "subject_id": subject_id, "user_id": user_id, "assigned_by": by}
        session.execute(insert(Assignment).values(created_at=utcnow(), **given))


def hand_on(session: Session, old_id: int, new_id: int) -> None:
    """Give a newer version of a finding the tags and the assignment of the older one."""
    session.execute(
        update(Assignment)
        .where(Assignment.subject_type == SUBJECT, Assignment.subject_id == old_id)
        .values(subject_id=new_id)
    )
    columns = ("project_id", "subject_type", "scope_id", "subject_id", "name", "user_id", "created_at")
    same = (Tag.subject_type == SUBJECT, Tag.subject_id == old_id)
    copied = [literal(new_id) if column == "subject_id" else getattr(Tag, column) for column in columns]
    session.execute(insert(Tag).from_select(columns, select(*copied).where(*same)))


def waiting_for(session: Session, user_id: int, project_ids: Sequence[int], limit: int = 8) -> list[WaitingSlices]:
    """Return the runs with slices in force that were given to a person who has not judged them, newest first."""
    judged = select(Verdict.id).where(
        Verdict.subject_type == SUBJECT, Verdict.subject_id == Finding.id, Verdict.user_id == user_id
    )
    given = select(Assignment.id).where(
        Assignment.subject_type == SUBJECT, Assignment.subject_id == Finding.id, Assignment.user_id == user_id
    )
    wanted = (Finding.retired.is_(False), given.exists(), ~judged.exists())
    return waiting_slices(session, project_ids, wanted, limit)


def _of(subject_type: str, scope_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Tag.subject_type == subject_type, Tag.scope_id == scope_id
