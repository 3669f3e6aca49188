"""Coming in: first start, sign-in, sign-out, invitations, new passwords, the choice of dark or light."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.errors import Unauthenticated, UserError
from app.services import accounts, passwords, projects
from app.settings import get_settings
from app.store.models import User
from app.web import csrf
from app.web.deps import SESSION_COOKIE, Db, Me, SentForm, Visiting
from app.web.forms import Form, text
from app.web.limits import AttemptLimit
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Coming in")
ACCOUNT_LIMIT = AttemptLimit(most=8, window=15 * 60)
ADDRESS_LIMIT = AttemptLimit(most=60, window=15 * 60)


@pages.html.get("/setup")
def setup(request: Request, session: Db) -> Response:
    """Show the form of the first start."""
    if not accounts.is_empty(session):
        return RedirectResponse(url("/sign-in"), 303)
    return render(request, "entry/setup.html", {"form": Form()})


@pages.html.post("/setup", dependencies=[Visiting])
def set_up(request: Request, session: Db, sent: SentForm) -> Response:
    """Make the owner's account and sign them in."""
    try:
        owner = accounts.create_owner(
            session,
            email=text(sent, "email"),
            name=text(sent, "name"),
            password=_password(sent),
            project=text(sent, "project") or "First project",
        )
    except UserError as error:
        return render(request, "entry/setup.html", {"form": Form.typed(sent, error)}, error.status)
    return _signed_in(session, owner, "/")


@pages.html.get("/sign-in")
def sign_in_form(request: Request, session: Db, next: str = "/") -> Response:
    """Show the sign-in form, or the setup where there is no account yet."""
    if accounts.is_empty(session):
        return RedirectResponse(url("/setup"), 303)
    return render(request, "entry/sign_in.html", {"form": Form(), "next": _inside(next)})


@pages.html.post("/sign-in", dependencies=[Visiting])
def sign_in(request: Request, session: Db, sent: SentForm) -> Response:
    """Check address and password, at most a few times in a quarter of an hour."""
    account = text(sent, "email").lower()
    address = request.client.host if request.client else ""
    ACCOUNT_LIMIT.check(account)
    ADDRESS_LIMIT.check(address)
    try:
        user = accounts.authenticate(session, account, _password(sent))
    except Unauthenticated as error:
        ACCOUNT_LIMIT.fail(account)
        ADDRESS_LIMIT.fail(address)
        context = {"form": Form.typed(sent, error), "next": _inside(text(sent, "next"))}
        return render(request, "entry/sign_in.html", context, error.status)
    ACCOUNT_LIMIT.succeed(account)
    return _signed_in(session, user, _inside(text(sent, "next")))


@pages.html.post("/sign-out")
def sign_out(request: Request, session: Db, me: Me) -> Response:
    """End this browser's session."""
    accounts.end_session(session, me.user, request.cookies.get(SESSION_COOKIE, ""))
    response = RedirectResponse(url("/sign-in"), 303)
    response.delete_cookie(SESSION_COOKIE, path=csrf.cookie_path())
    return response


@pages.html.get("/invitations/{token}")
def invitation(request: Request, session: Db, token: str) -> Response:
    """Ask an invited person for their name and a password."""
    user = projects.invited(session, token)
    return render(request, "entry/invitation.html", {"form": Form(), "email": user.email})


@pages.html.post("/invitations/{token}", dependencies=[Visiting])
def accept_invitation(request: Request, session: Db, sent: SentForm, token: str) -> Response:
    """Take up an invitation and sign in."""
    try:
        user = projects.accept_invitation(session, token, text(sent, "name"), _password(sent))
    except UserError as error:
        context = {"form": Form.typed(sent, error), "email": projects.invited(session, token).email}
        return render(request, "entry/invitation.html", context, error.status)
    return _signed_in(session, user, "/")


@pages.html.get("/reset/{token}")
def reset_form(request: Request, session: Db, token: str) -> Response:
    """Ask the holder of a link for a new password."""
    user = passwords.holder(session, token)
    return render(request, "entry/reset.html", {"form": Form(), "email": user.email})


@pages.html.post("/reset/{token}", dependencies=[Visiting])
def reset_password(request: Request, session: Db, sent: SentForm, token: str) -> Response:
    """Set the new password, sign the person out everywhere, and in here."""
    try:
        user = passwords.use_link(session, token, _password(sent))
    except UserError as error:
        context = {"form": Form.typed(sent, error), "email": passwords.holder(session, token).email}
        return render(request, "entry/reset.html", context, error.status)
    return _signed_in(session, user, "/")


def _signed_in(session: Session, user: User, next_path: str) -> Response:
    started = accounts.start_session(session, user)
    settings = get_settings()
    response = RedirectResponse(url(next_path), 303)
    response.set_cookie(
        SESSION_COOKIE,
        started.token,
        max_age=settings.session_days * 86_400,
        httponly=True,
        samesite="lax",
        secure=settings.cookie_secure,
        path=csrf.cookie_path(),
    )
    return response


def _password(sent: SentForm) -> str:
    value = sent.get("password", "")
    return value if isinstance(value, str) else ""


def _inside(path: str) -> str:
    """Return `path` where it is one of ours; a link must not lead away from here after the sign-in."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and "\n" not in path else "/"
