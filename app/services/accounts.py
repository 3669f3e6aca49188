"""Accounts: the first owner, passwords (argon2), browser sessions, API tokens."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy.orm import Session

from app.errors import Conflict, FieldError, NotFound, Unauthenticated
from app.settings import get_settings
from app.store.models import ApiToken, Project, User, WebSession
from app.store.models.base import utcnow
from app.store.repositories import accounts as repository
from app.store.repositories import projects
from app.store.repositories.accounts import HeldToken, SignedSession

SHORTEST_PASSWORD = 10
API_PREFIX = "flt_"
_TOUCH_EVERY = timedelta(hours=1)
_WRONG = "The address or the password is wrong."


class Started(NamedTuple):
    """A new browser session; the token goes into the cookie and is kept nowhere else."""

    token: str
    session: WebSession


class MadeToken(NamedTuple):
    """A new API token; the secret is shown once and kept nowhere."""

    secret: str
    token: ApiToken


def is_empty(session: Session) -> bool:
    """Whether there is no account yet, so that the first visitor sets Faultline up."""
    return repository.count_users(session) == 0


def create_owner(session: Session, *, email: str, name: str, password: str, project: str = "First project") -> User:
    """Make the first account, an administrator, and a project that it owns.

    Raises:
        Conflict: there is an account already.
        FieldError: the address, the name or the password will not do.
    """
    if not is_empty(session):
        raise Conflict("Faultline is set up already. Sign in, or ask an owner to invite you.")
    user = create_user(session, email=email, name=name, password=password, is_admin=True)
    first = projects.add(session, Project(name=project))
    projects.set_role(session, first.id, user.id, "owner")
    repository.log(session, user.id, "set_up", project_id=first.id)
    return user


def create_user(session: Session, *, email: str, name: str, password: str = "", is_admin: bool = False) -> User:
    """Make an account; one without a password cannot sign in until its invitation is taken up.

    Raises:
        FieldError: the address is none or taken, the name is empty, the password is too short.
    """
    address = _checked_email(session, email)
    if not name.strip():
        raise FieldError("name", "Give a name: it stands beside what you decide and write.")
    hashed = hash_password(password) if password else ""
    user = User(email=address, name=name.strip()[:200], password_hash=hashed, is_admin=is_admin)
    return repository.add(session, user)


def authenticate(session: Session, email: str, password: str) -> User:
    """Return the person with this address and password.

    Raises:
        Unauthenticated: one of the two is wrong; which one is not said, and takes as long to find out.
    """
    user = repository.by_email(session, email)
    stored = user.password_hash if user and user.password_hash else _decoy()
    if not verify_password(stored, password) or user is None or user.disabled_at:
        raise Unauthenticated(_WRONG)
    return user


def start_session(session: Session, user: User) -> Started:
    """Sign a person in on a browser."""
    token = secrets.token_urlsafe(32)
    expires = utcnow() + timedelta(days=get_settings().session_days)
    csrf = secrets.token_urlsafe(32)
    made = WebSession(user_id=user.id, token_hash=_hash(token), csrf_token=csrf, expires_at=expires)
    repository.add_session(session, made)
    return Started(token, made)


def session_of(session: Session, token: str) -> SignedSession | None:
    """Return the session that a cookie's token stands for."""
    return repository.session_by_hash(session, _hash(token)) if token else None


def end_session(session: Session, user: User, token: str) -> None:
    """Sign a person out on one browser."""
    repository.end_sessions(session, user.id, token_hash=_hash(token))


def change_password(session: Session, user: User, old: str, new: str, *, keep_token: str = "") -> None:
    """Change a password and end all of the person's other sessions.

    Raises:
        FieldError: the old password is wrong, or the new one too short.
    """
    if not verify_password(user.password_hash, old):
        raise FieldError("old", "This is not your present password.")
    set_password(session, user, new)
    repository.end_sessions(session, user.id, besides=_hash(keep_token) if keep_token else "")


def set_password(session: Session, user: User, password: str) -> None:
    """Give an account a password.

    Raises:
        FieldError: it is too short.
    """
    user.password_hash = hash_password(password)
    session.flush()
    repository.log(session, user.id, "password_set")


def create_token(session: Session, user: User, name: str) -> MadeToken:
    """Make an API token for scripts.

    Raises:
        FieldError: it has no name.
    """
    if not name.strip():
        raise FieldError("name", "Name the token after what will use it, so that you know which one to revoke.")
    secret = API_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(user_id=user.id, name=name.strip()[:200], token_hash=_hash(secret), hint=secret[-4:])
    repository.add_token(session, token)
    repository.log(session, user.id, "token_made", subject=("api_token", token.id))
    return MadeToken(secret, token)


def token_of(session: Session, secret: str) -> HeldToken | None:
    """Return the API token in force that `secret` stands for, with its person."""
    return repository.token_by_hash(session, _hash(secret))


def stale(token: ApiToken) -> bool:
    """Whether the note of when a token was last used is old enough to be renewed."""
    return token.last_used_at is None or utcnow() - token.last_used_at > _TOUCH_EVERY


def touch(session: Session, token_id: int) -> None:
    """Note that a token was used now."""
    repository.use_token(session, token_id, utcnow())


def revoke_token(session: Session, user: User, token_id: int) -> None:
    """End one of a person's API tokens.

    Raises:
        NotFound: they have none of that id.
    """
    if not repository.revoke_token(session, user.id, token_id):
        raise NotFound("You have no such token; it may have been revoked before.")
    repository.log(session, user.id, "token_revoked", subject=("api_token", token_id))


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password.

    Raises:
        FieldError: it is shorter than 10 characters.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise FieldError("password", f"Choose a password of at least {SHORTEST_PASSWORD} characters.")
    return _hasher().hash(password)


def verify_password(stored: str, password: str) -> bool:
    """Whether `password` is the one that was hashed to `stored`."""
    try:
        return _hasher().verify(stored, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def _checked_email(session: Session, email: str) -> str:
    address = email.strip()
    name, at, host = address.partition("@")
    if not (name and at and host) or " " in address or len(address) > 320:
        raise FieldError("email", f"“{address[:80]}” is not an e-mail address; one looks like name@example.org.")
    if repository.by_email(session, address):
        raise FieldError("email", f"There is an account for {address} already.")
    return address


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@lru_cache
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@lru_cache
def _decoy() -> str:
    return _hasher().hash(secrets.token_urlsafe())
