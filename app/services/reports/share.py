"""Share links: signed, expiring, revocable; each shows one report and nothing else."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy.orm import Session

from app.errors import NotFound, UserError
from app.settings import get_settings
from app.store.models import Report, ShareLink, User
from app.store.models.base import utcnow
from app.store.repositories import reports as repository

MOST_DAYS = 365


def share(session: Session, report: Report, user: User, days: int) -> tuple[ShareLink, str]:
    """Make a link to `report` that lives for `days`; the token is returned once and only its hash is kept.

    Raises:
        UserError: days outside 1 … 365.
    """
    if not 1 <= days <= MOST_DAYS:
        raise UserError(f"A share link lives between 1 and {MOST_DAYS} days; {days} was asked.")
    expires = utcnow() + timedelta(days=days)
    link = ShareLink(report_id=report.id, token_hash="", expires_at=expires, created_by=user.id)
    session.add(link)
    session.flush()
    token = _signer().dumps([link.id, int(expires.timestamp())])
    link.token_hash = _hash(token)
    session.flush()
    return link, token


def open_link(session: Session, token: str) -> Report:
    """Return the report that a link's token opens.

    Raises:
        NotFound: the signature is wrong, or the link has expired or was revoked.
    """
    try:
        _signer().loads(token)
    except BadSignature as error:
        raise NotFound("This share link is not valid. Ask the person who sent it for a new one.") from error
    link = repository.link_by_hash(session, _hash(token))
    if link is None or link.revoked_at or link.expires_at <= utcnow():
        raise NotFound("This share link has expired or was revoked. Ask the person who sent it for a new one.")
    return session.get_one(Report, link.report_id)


def revoke(session: Session, link: ShareLink) -> None:
    """End a link now."""
    link.revoked_at = link.revoked_at or utcnow()
    session.flush()


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(get_settings().secret_key(), salt="share-link")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
