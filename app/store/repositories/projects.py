"""Projects and who is in them."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.store.models import AuditRun, Dataset, Membership, Model, Project, User

Role = Literal["viewer", "analyst", "owner"]


class Joined(NamedTuple):
    """A project with the role of the person who asks."""

    project: Project
    role: Role


class Member(NamedTuple):
    """A person in a project."""

    user: User
    role: Role


class Counts(NamedTuple):
    """How much a project holds."""

    models: int
    datasets: int
    runs: int


def role_of(session: Session, user_id: int, project_id: int) -> Role | None:
    """Return a person's role in a project; None when they are no member."""
    query = select(Membership.role).where(Membership.user_id == user_id, Membership.project_id == project_id)
    return cast(Role | None, session.scalar(query))


def of_user(session: Session, user_id: int) -> list[Joined]:
    """Return the projects that a person is a member of, by name."""
    query = select(Project, Membership.role).join(Membership, Membership.project_id == Project.id)
    rows = session.execute(query.where(Membership.user_id == user_id).order_by(func.lower(Project.name), Project.id))
    return [Joined(project, cast(Role, role)) for project, role in rows]


def members(session: Session, project_id: int) -> list[Member]:
    """Return the people in a project, in the order in which they came."""
    query = select(User, Membership.role).join(Membership, Membership.user_id == User.id)
    rows = session.execute(query.where(Membership.project_id == project_id).order_by(Membership.id))
    return [Member(user, cast(Role, role)) for user, role in rows]


def add(session: Session, project: Project) -> Project:
    """Store a new project and give it its id."""
    session.add(project)
    session.flush()
    return project


def set_role(session: Session, project_id: int, user_id: int, role: Role) -> None:
    """Make a person a member with this role, or change the role they have."""
    mine = (Membership.project_id == project_id, Membership.user_id == user_id)
    membership = session.scalar(select(Membership).where(*mine))
    if membership is None:
        session.add(Membership(project_id=project_id, user_id=user_id, role=role))
    else:
        membership.role = role
    session.flush()


def remove(session: Session, project_id: int, user_id: int) -> None:
    """End a membership."""
    session.execute(delete(Membership).where(Membership.project_id == project_id, Membership.user_id == user_id))


def count_owners(session: Session, project_id: int) -> int:
    """Return how many owners a project has."""
    owners = select(func.count()).select_from(Membership)
    return session.scalar(owners.where(Membership.project_id == project_id, Membership.role == "owner")) or 0


def counts(session: Session, project_id: int) -> Counts:
    """Count what a project holds."""
    numbers = [
        session.scalar(select(func.count()).select_from(table).where(table.project_id == project_id)) or 0
        for table in (Model, Dataset, AuditRun)
    ]
    return Counts(*numbers)
