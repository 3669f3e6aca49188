"""Coming in: first start, sign-in and its limits, sign-out, invitations."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.services import accounts
from app.store.models import User
from app.store.repositories import accounts as repository
from app.store.repositories import projects
from app.store.session import reading, transaction
from app.web.deps import SESSION_COOKIE
from tests.factories import PASSWORD, People, Signed, create_user, csrf_of


def _form(client: TestClient, path: str, **fields: str) -> dict[str, str]:
    return {"csrf": csrf_of(client.get(path).text), **fields}


def _sign_in(client: TestClient, email: str, password: str, **more: str):
    return client.post("/sign-in", data=_form(client, "/sign-in", email=email, password=password, **more))


@pytest.fixture
def known(installation: Path) -> User:
    with transaction() as session:
        return create_user(session, "ada@example.org", PASSWORD)


def test_first_start_leads_to_the_setup(client: TestClient) -> None:
    assert client.get("/").headers["location"] == "/sign-in?next=/"
    assert client.get("/sign-in").headers["location"] == "/setup"
    assert "You are the first one here" in client.get("/setup").text


def test_setup_makes_the_owner_and_signs_in(client: TestClient) -> None:
    fields = {"name": "Ada", "email": "ada@example.org", "password": PASSWORD, "project": "Cats"}
    answer = client.post("/setup", data=_form(client, "/setup", **fields))
    assert answer.status_code == 303
    home = client.get("/")
    assert home.status_code == 200
    assert "Cats" in home.text
    assert "Ada" in home.text


def test_setup_happens_once(client: TestClient, known: User) -> None:
    assert client.get("/setup").headers["location"] == "/sign-in"
    token = csrf_of(client.get("/sign-in").text)
    fields = {"csrf": token, "name": "Eve", "email": "eve@example.org", "password": PASSWORD}
    assert client.post("/setup", data=fields).status_code == 409
    with reading() as session:
        assert repository.by_email(session, "eve@example.org") is None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("password", "short", "at least 10 characters"),
        ("email", "nowhere", "is not an e-mail address"),
        ("name", "  ", "Give a name"),
    ],
)
def test_setup_says_what_is_wrong_and_keeps_the_rest(client: TestClient, field: str, value: str, said: str) -> None:
    fields = {"name": "Ada", "email": "ada@example.org", "password": PASSWORD, "project": "Cats", field: value}
    answer = client.post("/setup", data=_form(client, "/setup", **fields))
    assert answer.status_code == 422
    assert said in answer.text
    assert 'value="Cats"' in answer.text
    assert PASSWORD not in answer.text
    with reading() as session:
        assert accounts.is_empty(session)


def test_sign_in_and_out(client: TestClient, known: User) -> None:
    answer = _sign_in(client, "Ada@Example.org", PASSWORD, next="/models")
    assert answer.headers["location"] == "/models"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    page = client.get("/")
    assert page.status_code == 200
    client.post("/sign-out", data={"csrf": csrf_of(page.text)})
    assert client.get("/").status_code == 303


def test_the_cookie_is_secure_when_the_setting_says_so(
    client: TestClient, known: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = _form(client, "/sign-in", email=known.email, password=PASSWORD)
    monkeypatch.setattr("app.web.pages.entry.get_settings", _secure_settings)
    assert "Secure" in client.post("/sign-in", data=form).headers["set-cookie"]


def _secure_settings():
    from app.settings import Settings

    return Settings(cookie_secure=True)


def test_only_the_hash_of_a_session_is_kept(client: TestClient, known: User) -> None:
    _sign_in(client, known.email, PASSWORD)
    token = client.cookies[SESSION_COOKIE]
    with reading() as session:
        found = accounts.session_of(session, token)
        assert found is not None
        assert found.session.token_hash != token


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
def test_a_wrong_password_and_an_unknown_address_look_alike(client: TestClient, known: User, email: str) -> None:
    answer = _sign_in(client, email, "not the password")
    assert answer.status_code == 401
    assert "The address or the password is wrong." in answer.text
    assert f'value="{email}"' in answer.text


def test_a_disabled_account_cannot_sign_in(client: TestClient, known: User) -> None:
    from app.store.models.base import utcnow

    with transaction() as session:
        session.get_one(User, known.id).disabled_at = utcnow()
    assert _sign_in(client, known.email, PASSWORD).status_code == 401


def test_guessing_is_slowed_down_even_for_the_right_password(client: TestClient, known: User) -> None:
    for _ in range(8):
        assert _sign_in(client, known.email, "wrong password").status_code == 401
    blocked = _sign_in(client, known.email, PASSWORD)
    assert blocked.status_code == 429
    assert "Try again in" in blocked.text


@pytest.mark.parametrize("there", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x"])
def test_a_sign_in_never_leads_away_from_here(client: TestClient, known: User, there: str) -> None:
    assert _sign_in(client, known.email, PASSWORD, next=there).headers["location"] == "/"


def test_an_invited_person_sets_a_password_once(client: TestClient, owner: Signed, people: People) -> None:
    page = owner.post(f"/projects/{people.project_id}/members", {"email": "new@example.org", "role": "viewer"})
    assert page.status_code == 200
    path = "/invitations/" + page.text.split("/invitations/")[1].split("<")[0]
    visitor = TestClient(client.app, follow_redirects=False)
    form = {"csrf": csrf_of(visitor.get(path).text), "name": "Neo", "password": PASSWORD}
    assert visitor.post(path, data=form).status_code == 303
    assert "Birds" in visitor.get("/").text
    again = visitor.get(path)
    assert again.status_code == 404
    assert "not valid any more" in again.text
    with reading() as session:
        user = repository.by_email(session, "new@example.org")
        assert user is not None
        assert projects.role_of(session, user.id, people.project_id) == "viewer"


def test_an_invitation_is_signed(client: TestClient, known: User) -> None:
    assert client.get("/invitations/made.up.token").status_code == 404


def test_the_theme_is_drawn_by_the_server(client: TestClient, known: User) -> None:
    assert 'data-theme="dark"' in client.get("/sign-in", headers={"Cookie": "theme=dark"}).text
    assert "data-theme=" not in client.get("/sign-in", headers={"Cookie": 'theme="><b>'}).text
