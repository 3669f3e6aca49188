"""CSRF tokens: bound to the session, or to a cookie of its own before anybody signed in.

A token is masked anew for each page, so that compression cannot be used to guess it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from fastapi import Request, Response

from app.errors import Forbidden
from app.settings import get_settings

COOKIE = "faultline_visitor"
_BYTES = 32
_STALE = "This form is too old, or comes from elsewhere. Nothing was changed: send it once more."


def token(request: Request) -> str:
    """Return a token for a form of this request."""
    pad = secrets.token_bytes(_BYTES)
    return base64.urlsafe_b64encode(pad + _xor(pad, _secret(request))).decode()


def check(request: Request, given: str) -> None:
    """Compare a form's token with the session's.

    Raises:
        Forbidden: it is missing or another's; the message says that nothing was changed.
    """
    try:
        raw = base64.urlsafe_b64decode(given.encode())
    except (binascii.Error, ValueError):
        raise Forbidden(_STALE) from None
    pad, masked = raw[:_BYTES], raw[_BYTES:]
    if len(masked) != _BYTES or not hmac.compare_digest(_xor(pad, masked), _secret(request)):
        raise Forbidden(_STALE)


def remember(request: Request, response: Response) -> None:
    """Give a visitor without a session the cookie that their form's token is bound to."""
    visitor = getattr(request.state, "visitor", None)
    if visitor and COOKIE not in request.cookies:
        secure = get_settings().cookie_secure
        response.set_cookie(COOKIE, visitor, httponly=True, samesite="lax", secure=secure, path=cookie_path())


def cookie_path() -> str:
    """Return the path that our cookies are sent to."""
    return get_settings().root_path.rstrip("/") or "/"


def _secret(request: Request) -> bytes:
    bound = getattr(request.state, "csrf_token", None) or _visitor(request)
    return hmac.digest(get_settings().secret_key().encode(), b"csrf:" + bound.encode(), hashlib.sha256)


def _visitor(request: Request) -> str:
    if not getattr(request.state, "visitor", None):
        request.state.visitor = request.cookies.get(COOKIE) or secrets.token_urlsafe(24)
    return str(request.state.visitor)


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))
