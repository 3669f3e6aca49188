"""Projects: making them, inviting people, and the roles viewer, analyst and owner."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy.orm import Session

from app.errors import Conflict, FieldError, NotFound, UserError
from app.services import accounts
from app.settings import get_settings
from app.store.models import Project, User
from app.store.repositories import accounts as people
from app.store.repositories import projects as repository
from app.store.repositories.projects import Role

RANK: dict[Role, int] = {"viewer": 0, "analyst": 1, "owner": 2}
INVITATION_DAYS = 14


class Invitation(NamedTuple):
    """A person who was given a role; `token` is empty when they have a password already."""

    user: User
    token: str


def create(session: Session, user: User, name: str) -> Project:
    """Make a project that `user` owns.

    Raises:
        FieldError: it has no name.
    """
    project = repository.add(session, Project(name=_checked_name(name)))
    repository.set_role(session, project.id, user.id, "owner")
    people.log(session, user.id, "project_made", project_id=project.id)
    return project


def rename(session: Session, project: Project, name: str, by: User) -> None:
    """Give a project another name.

    Raises:
        FieldError: the name is empty.
    """
    project.name = _checked_name(name)
    session.flush()
    people.log(session, by.id, "project_renamed", project_id=project.id)


def invite(session: Session, project: Project, email: str, role: str, by: User) -> Invitation:
    """Make a person a member of a project, with an account where they have none.

    Raises:
        FieldError: the address or the role is none; the person is a member already.
    """
    checked = _checked_role(role)
    user = people.by_email(session, email)
    if user is None:
        name = email.strip().partition("@")[0] or email
        user = accounts.create_user(session, email=email, name=name)
    if repository.role_of(session, user.id, project.id):
        raise FieldError("email", f"{user.email} is a member already. Change the role in the list.")
    repository.set_role(session, project.id, user.id, checked)
    people.log(session, by.id, "invited", project_id=project.id, subject=("user", user.id), role=role)
    return Invitation(user, "" if user.password_hash else invitation_token(user))


def change_role(session: Session, project: Project, user_id: int, role: str, by: User) -> None:
    """Give a member another role.

    Raises:
        NotFound: they are no member.
        Conflict: a project needs an owner, and this is the last one.
    """
    checked = _checked_role(role)
    _require_other_owner(session, project, user_id, leaves=checked != "owner")
    repository.set_role(session, project.id, user_id, checked)
    people.log(session, by.id, "role_changed", project_id=project.id, subject=("user", user_id), role=role)


def remove_member(session: Session, project: Project, user_id: int, by: User) -> None:
    """End a membership.

    Raises:
        NotFound: they are no member.
        Conflict: a project needs an owner, and this is the last one.
    """
    _require_other_owner(session, project, user_id, leaves=True)
    repository.remove(session, project.id, user_id)
    people.log(session, by.id, "member_removed", project_id=project.id, subject=("user", user_id))


def invitation_token(user: User) -> str:
    """Return the token with which an invited person sets their first password; it works once."""
    return _signer().dumps([user.id, _state(user)])


def invited(session: Session, token: str) -> User:
    """Return the person whom an invitation was sent to.

    Raises:
        NotFound: the invitation is not ours, has expired, or was taken up.
    """
    gone = "This invitation is not valid any more. Ask the person who sent it for a new one."
    try:
        user_id, state = _signer().loads(token, max_age=INVITATION_DAYS * 86_400)
    except BadSignature as error:
        raise NotFound(gone) from error
    user = people.get(session, user_id)
    if user is None or state != _state(user):
        raise NotFound(gone)
    return user


def accept_invitation(session: Session, token: str, name: str, password: str) -> User:
    """Give an invited person their name and first password.

    Raises:
        NotFound: the invitation is not valid.
        FieldError: the name is empty or the password too short.
    """
    user = invited(session, token)
    if not name.strip():
        raise FieldError("name", "Give a name: it stands beside what you decide and write.")
    accounts.set_password(session, user, password)
    user.name = name.strip()[:200]
    session.flush()
    return user


def _checked_name(name: str) -> str:
    if not name.strip():
        raise FieldError("name", "Give the project a name.")
    return name.strip()[:200]


def _checked_role(role: str) -> Role:
    if role not in RANK:
        raise UserError(f"“{role}” is no role. There are viewer, analyst and owner.")
    return next(known for known in RANK if known == role)


def _require_other_owner(session: Session, project: Project, user_id: int, *, leaves: bool) -> None:
    held = repository.role_of(session, user_id, project.id)
    if held is None:
        raise NotFound("This person is no member of the project.")
    if leaves and held == "owner" and repository.count_owners(session, project.id) == 1:
        raise Conflict("A project needs an owner, and this is the last one. Make somebody else owner first.")


def _state(user: User) -> str:
    return hashlib.sha256(f"{user.id}:{user.password_hash}".encode()).hexdigest()[:16]


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(get_settings().secret_key(), salt="invitation")
