"""Forgotten passwords: a link that lets a person set a new one, once, handed over by somebody who may."""

from __future__ import annotations

import hashlib

from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy.orm import Session

from app.errors import Forbidden, NotFound
from app.services import accounts
from app.settings import get_settings
from app.store.models import User
from app.store.repositories import accounts as people
from app.store.repositories import projects

RESET_HOURS = 24
_GONE = "This link is not valid any more. Ask the person who sent it for a new one."


def make_link(session: Session, by: User, user: User) -> str:
    """Return the token with which `user` sets a new password; it works once, for 24 hours.

    Whoever holds it can sign in as that person, so only an administrator gets one, or the owner of every project
    that the person is in.

    Raises:
        Forbidden: `by` is neither.
    """
    if not may_reset(session, by, user):
        raise Forbidden(
            f"{user.email} is in projects that you do not own, or administers Faultline. An administrator can help: "
            "`faultline users reset-password` on the server."
        )
    people.log(session, by.id, "reset_link_made", subject=("user", user.id))
    return link_of(user)


def link_of(user: User) -> str:
    """Return the token with which a person sets a new password, for the operator of the machine."""
    return _signer().dumps([user.id, _state(user)])


def may_reset(session: Session, by: User, user: User) -> bool:
    """Whether one person may hand another a link to a new password."""
    if by.is_admin:
        return True
    joined = {held.project.id for held in projects.of_user(session, user.id)}
    owned = {held.project.id for held in projects.of_user(session, by.id) if held.role == "owner"}
    return not user.is_admin and bool(joined) and joined <= owned


def holder(session: Session, token: str) -> User:
    """Return the person whom a link was made for.

    Raises:
        NotFound: it is not ours, has expired, or was used; or the account is closed.
    """
    try:
        user_id, state = _signer().loads(token, max_age=RESET_HOURS * 3600)
    except BadSignature as error:
        raise NotFound(_GONE) from error
    user = people.get(session, user_id)
    if user is None or user.disabled_at or state != _state(user):
        raise NotFound(_GONE)
    return user


def use_link(session: Session, token: str, password: str) -> User:
    """Give the link's person a new password, and sign them out everywhere.

    Raises:
        NotFound: the link is not valid.
        FieldError: the password is too short.
    """
    return replace(session, holder(session, token), password)


def replace(session: Session, user: User, password: str) -> User:
    """Give a person a new password, and sign them out everywhere; API tokens stay.

    Raises:
        FieldError: it is too short.
    """
    accounts.set_password(session, user, password)
    people.end_sessions(session, user.id)
    return user


def _state(user: User) -> str:
    return hashlib.sha256(f"reset:{user.id}:{user.password_hash}".encode()).hexdigest()[:16]


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(get_settings().secret_key(), salt="password-reset")
