"""Forgotten passwords: who may make a link, what it does, and how long."""

from __future__ import annotations

import re
import time

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.cli import commands
from app.services import accounts, passwords
from app.store.models import Membership, User
from app.store.session import reading, transaction
from tests.factories import People, Signed, create_project, csrf_of

NEW = "a whole new password"


def make(browser: Signed, people: People, role: str = "viewer") -> str:
    """Return the path of a link that the browser's person makes for a member."""
    answer = browser.send("POST", f"/api/v1/projects/{people.project_id}/members/{people.ids[role]}/reset")
    assert answer.status_code == 201, answer.text
    return re.sub(r"^https?://[^/]+", "", answer.json()["address"])


def set_anew(client: TestClient, path: str, password: str = NEW):
    client.cookies.clear()
    page = client.get(path)
    return client.post(path, data={"csrf": csrf_of(page.text), "password": password})


def knows(role: str, password: str = NEW) -> bool:
    with reading() as session:
        user = session.query(User).filter_by(email=f"{role}@example.org").one()
        return accounts.verify_password(user.password_hash, password)


def test_a_link_sets_a_password_once_and_signs_out_everywhere(
    client: TestClient, owner: Signed, people: People
) -> None:
    viewer = people.sign_in(client, "viewer")
    path = make(owner, people)
    short = set_anew(client, path, "short")
    assert (short.status_code, "at least 10 characters" in short.text) == (422, True)
    done = set_anew(client, path)
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert knows("viewer")
    assert viewer.get("/account").status_code == 303
    client.cookies.clear()
    assert client.get(path).status_code == 404
    assert "not valid any more" in client.get(path).text


def test_the_page_shows_the_address(owner: Signed, people: People) -> None:
    with transaction() as session:
        session.get_one(User, people.ids["viewer"]).password_hash = accounts.hash_password(NEW)
    action = f"/projects/{people.project_id}/members/{people.ids['viewer']}/reset"
    assert f'formaction="{action}"' in owner.get(f"/projects/{people.project_id}").text
    page = owner.post(action)
    assert page.status_code == 200
    assert re.search(r"http://testserver/reset/[\w.-]+", page.text)
    assert "Send viewer@example.org this address" in page.text


def test_a_link_expires(client: TestClient, owner: Signed, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(owner, people)
    later = time.time() + passwords.RESET_HOURS * 3600 + 60
    monkeypatch.setattr(time, "time", lambda: later)
    with reading() as session, pytest.raises(passwords.NotFound, match="not valid any more"):
        passwords.holder(session, path.rpartition("/")[2])


@pytest.mark.parametrize("token", ["x", "WzEsImFiIl0.aaaa.bbbb", "%00"])
def test_other_tokens_open_nothing(client: TestClient, people: People, token: str) -> None:
    assert client.get(f"/reset/{token}").status_code == 404


def test_an_invitation_is_no_link_to_a_password(client: TestClient, people: People) -> None:
    from app.services.projects import invitation_token

    with reading() as session:
        token = invitation_token(session.get_one(User, people.ids["viewer"]))
    assert client.get(f"/reset/{token}").status_code == 404


@pytest.mark.parametrize(("role", "status"), [("analyst", 403), ("viewer", 403), ("outsider", 404)])
def test_only_an_owner_makes_links(client: TestClient, people: People, role: str, status: int) -> None:
    path = f"/api/v1/projects/{people.project_id}/members/{people.ids['viewer']}/reset"
    assert people.sign_in(client, role).send("POST", path).status_code == status


def test_an_owner_cannot_take_over_whom_other_projects_trust(owner: Signed, people: People) -> None:
    with transaction() as session:
        other = create_project(session, "Elsewhere")
        session.add(Membership(project_id=other.id, user_id=people.ids["analyst"], role="viewer"))
        session.get_one(User, people.ids["viewer"]).is_admin = True
    for role in ("analyst", "viewer"):
        answer = owner.send("POST", f"/api/v1/projects/{people.project_id}/members/{people.ids[role]}/reset")
        assert answer.status_code == 403
        assert "faultline users reset-password" in answer.json()["error"]["message"]
    with transaction() as session:
        session.get_one(User, people.ids["owner"]).is_admin = True
    make(owner, people, "analyst")


def test_who_is_no_member_is_not_found(owner: Signed, people: People) -> None:
    path = f"/api/v1/projects/{people.project_id}/members/{people.ids['outsider']}/reset"
    assert owner.send("POST", path).status_code == 404


def test_the_operator_sets_a_password_on_the_terminal(client: TestClient, people: People) -> None:
    viewer = people.sign_in(client, "viewer")
    done = CliRunner().invoke(commands, ["users", "reset-password", "VIEWER@example.org"], input=f"{NEW}\n{NEW}\n")
    assert (done.exit_code, "signed out everywhere" in done.stdout) == (0, True)
    assert NEW not in done.stdout
    assert knows("viewer")
    assert viewer.get("/account").status_code == 303
    assert "owner@example.org" in CliRunner().invoke(commands, ["users", "list"]).stdout
    missing = CliRunner().invoke(commands, ["users", "reset-password", "nobody@example.org"])
    assert "There is no account for nobody@example.org" in str(missing.exception)


def test_the_operator_makes_a_link(client: TestClient, people: People) -> None:
    done = CliRunner().invoke(commands, ["users", "reset-password", "owner@example.org", "--link"])
    assert set_anew(client, done.stdout.strip()).status_code == 303
    assert knows("owner")
