"""People, their browser sessions and their API tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.store.models import ApiToken, AuditLog, User, WebSession
from app.store.models.base import utcnow


class SignedSession(NamedTuple):
    """A browser's session with its person."""

    session: WebSession
    user: User


class HeldToken(NamedTuple):
    """An API token with its person."""

    token: ApiToken
    user: User


def count_users(session: Session) -> int:
    """Return how many accounts there are."""
    return session.scalar(select(func.count()).select_from(User)) or 0


def get(session: Session, user_id: int) -> User | None:
    """Return an account."""
    return session.get(User, user_id)


def everybody(session: Session) -> Sequence[User]:
    """Return all accounts, oldest first."""
    return session.scalars(select(User).order_by(User.id)).all()


def first_admin(session: Session) -> User | None:
    """Return the oldest administrator."""
    return session.scalars(select(User).where(User.is_admin).order_by(User.id).limit(1)).first()


def by_email(session: Session, email: str) -> User | None:
    """Return the account with this address, however it is capitalised."""
    return session.scalar(select(User).where(func.lower(User.email) == email.strip().lower()))


def add(session: Session, user: User) -> User:
    """Store a new account and give it its id."""
    session.add(user)
    session.flush()
    return user


def session_by_hash(session: Session, token_hash: str) -> SignedSession | None:
    """Return the living session under a token's hash, its person not disabled."""
    query = (
        select(WebSession, User)
        .join(User, User.id == WebSession.user_id)
        .where(WebSession.token_hash == token_hash, WebSession.expires_at > utcnow(), User.disabled_at.is_(None))
    )
    row = session.execute(query).first()
    return SignedSession(row[0], row[1]) if row else None


def add_session(session: Session, web_session: WebSession) -> None:
    """Store a browser's session, and forget those that have expired."""
    session.execute(delete(WebSession).where(WebSession.expires_at <= utcnow()))
    session.add(web_session)
    session.flush()


def end_sessions(session: Session, user_id: int, *, token_hash: str = "", besides: str = "") -> None:
    """End a person's sessions: the one of `token_hash`, or all `besides` one."""
    wanted = delete(WebSession).where(WebSession.user_id == user_id)
    if token_hash:
        wanted = wanted.where(WebSession.token_hash == token_hash)
    session.execute(wanted.where(WebSession.token_hash != besides))


def token_by_hash(session: Session, token_hash: str) -> HeldToken | None:
    """Return the API token in force under a hash, its person not disabled."""
    query = (
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.token_hash == token_hash, ApiToken.revoked_at.is_(None), User.disabled_at.is_(None))
    )
    row = session.execute(query).first()
    return HeldToken(row[0], row[1]) if row else None


def tokens_of(session: Session, user_id: int) -> Sequence[ApiToken]:
    """Return a person's tokens in force, newest first."""
    query = select(ApiToken).where(ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    return session.scalars(query.order_by(ApiToken.id.desc())).all()


def add_token(session: Session, token: ApiToken) -> ApiToken:
    """Store an API token and give it its id."""
    session.add(token)
    session.flush()
    return token


def use_token(session: Session, token_id: int, moment: datetime) -> None:
    """Note when a token was last used."""
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=moment))


def revoke_token(session: Session, user_id: int, token_id: int) -> bool:
    """End one of a person's tokens; False when they have none of that id."""
    mine = (ApiToken.id == token_id, ApiToken.user_id == user_id, ApiToken.revoked_at.is_(None))
    token = session.scalar(select(ApiToken).where(*mine))
    if token is None:
        return False
    token.revoked_at = utcnow()
    session.flush()
    return True


def log(
    session: Session,
    user_id: int | None,
    action: str,
    *,
    project_id: int | None = None,
    subject: tuple[str, int] | None = None,
    **detail: object,
) -> None:
    """Add a row to the append-only log: who did what to which subject."""
    type_, id_ = subject or ("", None)
    entry = AuditLog(user_id=user_id, action=action, project_id=project_id, detail=dict(detail))
    entry.subject_type, entry.subject_id = type_, id_
    session.add(entry)
    session.flush()
