"""A person's own account: password and API tokens."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from app.errors import Forbidden, UserError
from app.services import accounts
from app.store.repositories import accounts as repository
from app.web.deps import SESSION_COOKIE, Access, ProjectAccess, SentForm
from app.web.forms import Form, text
from app.web.templating import render, url
from app.web.twins import Pages

pages = Pages("Account")
TEMPLATE = "account/show.html"


class TokenRow(BaseModel):
    """An API token in force."""

    id: int
    name: str
    hint: str = Field(description="Its last four characters.")
    last_used_at: datetime | None = Field(description="To the hour.")
    created_at: datetime


class AccountPage(BaseModel):
    """A person's own account."""

    name: str
    email: str
    tokens: list[TokenRow]
    new_token: str = Field("", description="The secret of a token that was just made; shown once.")
    saved: bool = Field(False, description="Whether a new password was just saved.")
    form: Form


@pages.page("/account", TEMPLATE)
def account(access: ProjectAccess, saved: bool = False) -> AccountPage:
    """The signed-in person's account and API tokens."""
    return _account(access, Form(), saved=saved)


@pages.html.post("/account/password")
def change_password(request: Request, access: ProjectAccess, sent: SentForm) -> Response:
    """Change the password; all other browsers are signed out."""
    kept = request.cookies.get(SESSION_COOKIE, "")
    old, new = (str(sent.get(name, "")) for name in ("old", "password"))
    try:
        accounts.change_password(access.session, access.user, old, new, keep_token=kept)
    except UserError as error:
        form = Form.typed(sent, error, secret=("password", "old"))
        return render(request, TEMPLATE, _account(access, form), error.status)
    return RedirectResponse(url("/account?saved=true"), 303)


@pages.html.post("/account/tokens")
def make_token(request: Request, access: ProjectAccess, sent: SentForm) -> Response:
    """Make an API token and show its secret, this once."""
    if access.by_token:
        raise Forbidden("A token cannot make tokens. Sign in with your password.")
    try:
        made = accounts.create_token(access.session, access.user, text(sent, "name"))
    except UserError as error:
        return render(request, TEMPLATE, _account(access, Form.typed(sent, error)), error.status)
    return render(request, TEMPLATE, _account(access, Form(), new_token=made.secret))


@pages.html.post("/account/tokens/{token_id}/revoke")
def revoke_token(access: ProjectAccess, token_id: int) -> Response:
    """End an API token now."""
    accounts.revoke_token(access.session, access.user, token_id)
    return RedirectResponse(url("/account"), 303)


def _account(access: Access, form: Form, *, new_token: str = "", saved: bool = False) -> AccountPage:
    held = repository.tokens_of(access.session, access.user.id)
    tokens = [TokenRow.model_validate(token, from_attributes=True) for token in held]
    user = access.user
    return AccountPage(name=user.name, email=user.email, tokens=tokens, new_token=new_token, saved=saved, form=form)
