"""What every answer carries, static files, API tokens, prefixes, errors; and that the server stays small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import app.audits
from app.main import create_app
from app.resources import resource
from app.settings import get_settings
from app.store.session import transaction
from app.web.limits import AttemptLimit, TooManyAttempts
from app.web.templating import ago, duration, number, position, size, static, static_version
from tests.factories import People, Signed, create_run


def test_every_answer_carries_the_policy(client: TestClient, people: People) -> None:
    for path in ("/sign-in", "/healthz", "/nowhere", static("css/faultline.css"), "/api/v1/openapi.json"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_no_template_has_inline_script_or_style() -> None:
    kinds = Path(app.audits.__file__).parent
    for path in [*resource("templates").rglob("*.html"), *kinds.glob("*/templates/*.html")]:
        if path.parts[-2:] == ("reports", "file.html"):
            continue  # the one-file report, which is opened from a disk and carries its own style
        text = path.read_text()
        assert " style=" not in text, path
        assert "<style" not in text, path
        assert " onclick=" not in text, path
        assert "<script>" not in text, path


def test_static_files_are_kept_for_ever_under_their_hash(client: TestClient) -> None:
    answer = client.get(static("css/tokens.css"))
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/css")
    old = client.get("/static/000000000000/css/tokens.css")
    assert "immutable" not in old.headers["cache-control"]
    assert len(static_version()) == 12


@pytest.mark.parametrize("path", ["%2e%2e/pyproject.toml", "css/%2e%2e/%2e%2e/pyproject.toml", "%2fetc/passwd", "css"])
def test_static_files_stay_in_their_folder(client: TestClient, path: str) -> None:
    assert client.get(f"/static/x/{path}").status_code == 404


@pytest.mark.parametrize(("accept", "coding"), [("br, gzip", "br"), ("gzip", "gzip"), ("identity", None)])
def test_the_chart_bundle_comes_ready_compressed(client: TestClient, accept: str, coding: str | None) -> None:
    answer = client.get(static("vendor/plotly/plotly-strict.min.js"), headers={"Accept-Encoding": accept})
    assert answer.headers.get("content-encoding") == coding
    assert "Accept-Encoding" in answer.headers["vary"]
    assert b"plotly" in answer.content[:400].lower()


def test_pages_are_compressed_and_never_stored(client: TestClient, people: People) -> None:
    answer = client.get("/sign-in", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "no-store"


def test_health(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_csrf_token_differs_from_page_to_page(owner: Signed) -> None:
    assert owner.csrf() != owner.csrf()


def test_api_tokens(client: TestClient, owner: Signed, people: People) -> None:
    page = owner.post("/account/tokens", {"name": "nightly"})
    secret = page.text.split('<code class="secret">')[1].split("<")[0]
    bearer = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/v1/home", headers=bearer).json()["projects"][0]["name"] == "Birds"
    tokens = client.get("/api/v1/account", headers=bearer).json()["tokens"]
    assert tokens[0]["hint"] == secret[-4:]
    assert tokens[0]["last_used_at"] is not None
    assert secret not in owner.get("/account").text
    begun = {"project_id": people.project_id, "filename": "x.zip", "size": 3}
    assert client.post("/api/v1/uploads", json=begun, headers=bearer).status_code == 201
    owner.post(f"/account/tokens/{tokens[0]['id']}/revoke")
    refused = client.get("/api/v1/home", headers=bearer)
    assert refused.status_code == 401
    assert "revoked" in refused.json()["error"]["message"]


def test_a_token_makes_no_tokens_and_anothers_is_not_revoked(client: TestClient, people: People) -> None:
    owner, analyst = people.sign_in(client, "owner"), people.sign_in(client, "analyst")
    owner.post("/account/tokens", {"name": "nightly"})
    id_ = owner.get("/api/v1/account").json()["tokens"][0]["id"]
    assert analyst.post(f"/account/tokens/{id_}/revoke").status_code == 404


def test_a_changed_password_ends_other_sessions(client: TestClient, people: People) -> None:
    here, there = people.sign_in(client, "owner"), people.sign_in(client, "owner")
    from app.services import accounts
    from app.store.models import User

    with transaction() as session:
        accounts.set_password(session, session.get_one(User, people.ids["owner"]), "the first password")
    wrong = here.post("/account/password", {"old": "not this one", "password": "the second password"})
    assert "not your present password" in wrong.text
    right = here.post("/account/password", {"old": "the first password", "password": "the second password"})
    assert right.status_code == 303
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303


def test_the_last_owner_stays(owner: Signed, people: People) -> None:
    path = f"/projects/{people.project_id}/members/{people.ids['owner']}"
    for role in ("viewer", "remove"):
        answer = owner.post(path, {"role": role})
        assert answer.status_code == 409
        assert "A project needs an owner" in answer.text
    owner.post(f"/projects/{people.project_id}/members/{people.ids['analyst']}", {"role": "owner"})
    assert owner.post(path, {"role": "remove"}).headers["location"] == "/"
    assert owner.get(f"/projects/{people.project_id}").status_code == 404


def test_everything_works_behind_a_prefix(installation: Path, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_ROOT_PATH", "/audit")
    get_settings.cache_clear()
    with TestClient(create_app(), follow_redirects=False) as client:
        owner = people.sign_in(client, "owner")
        page = owner.get("/audit/models")
        assert page.status_code == 200
        assert 'href="/audit/models/new"' in page.text
        assert 'href="/models' not in page.text
        assert 'aria-current="page">Models' in page.text.replace("\n", "")
        assert client.get("/audit/").headers["location"].startswith("/audit/sign-in?next=/")
        assert client.get(static("css/faultline.css")).status_code == 200
        cut_off = owner.get("/models")
        assert 'href="/audit/models/new"' in cut_off.text
        assert client.get("/audit/sign-in").headers["set-cookie"].count("Path=/audit") == 1


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [("/nowhere", 404, "no page at this address"), ("/runs/x", 404, "no such page"), ("/runs?before=x", 422, "before")],
)
def test_errors_are_sentences_in_both_forms(owner: Signed, path: str, status: int, said: str) -> None:
    page = owner.get(path)
    assert page.status_code == status
    assert said in page.text
    assert "<h2>" in page.text
    twin = owner.get("/api/v1" + path)
    assert twin.status_code == status
    assert said in twin.json()["error"]["message"]


def test_a_defect_shows_a_reference_and_no_stack(
    installation: Path, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("app.web.pages.home.runs.page", broken)
    with TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False) as client:
        answer = people.sign_in(client, "owner").get("/")
    assert answer.status_code == 500
    assert "defect of Faultline" in answer.text
    assert "secret detail" not in answer.text


def test_lists_page_by_key(owner: Signed, people: People) -> None:
    with transaction() as session:
        first = create_run(session, people.project_id)
        for index in range(34):
            more = {"model_version_id": first.model_version_id, "dataset_id": first.dataset_id}
            create_run(session, people.project_id, name=f"Run {index}", **more)
    page = owner.get("/api/v1/runs").json()
    rest = owner.get("/api/v1" + page["next"]).json()
    ids = [run["id"] for run in page["runs"] + rest["runs"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 35
    assert rest["next"] == ""


def test_the_limit_forgets_with_time_and_success() -> None:
    now = [0.0]
    limit = AttemptLimit(most=2, window=60, clock=lambda: now[0])
    limit.fail("a")
    limit.fail("a")
    with pytest.raises(TooManyAttempts, match="1 min"):
        limit.check("a")
    limit.check("b")
    now[0] = 61.0
    limit.check("a")
    limit.fail("a")
    limit.succeed("a")
    limit.fail("a")
    limit.check("a")


def test_words_for_numbers() -> None:
    assert number(0.2345) == "23.4\N{NO-BREAK SPACE}%"
    assert number(0.2345, bare=True) == "23.4"
    assert number(1234.5, "1") == "1,234.5"
    assert [size(n) for n in (0, 999, 1_200, 45_000_000)] == ["0 B", "999 B", "1.2 kB", "45 MB"]
    assert [duration(s) for s in (0, 59, 61, 3_600, 90_061)] == ["0 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h"]
    assert position(0.5, (0, 1)) == 50
    assert position(2, (0, 1)) == 100
    assert ago(None) == "–"


SCRIPT = """
import sys, time
begun = time.process_time()
from app.main import create_app
app = create_app()
print(time.process_time() - begun)
heavy = {"torch", "torchvision", "open_clip", "timm", "onnxruntime", "workers", "sklearn"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


BARE = """
import time
begun = time.process_time()
import fastapi, sqlalchemy.orm, pyarrow
print(time.process_time() - begun)
"""


def _run(script: str) -> list[str]:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root, timeout=120
    )
    return done.stdout.splitlines()


def test_the_web_process_stays_small(installation: Path) -> None:
    assert _run(SCRIPT)[-1] == "[]"


def test_the_web_process_starts_quickly(installation: Path) -> None:
    # In units of what its own framework takes, and the best of a few, so that a busy machine does not decide.
    ratios = (float(_run(SCRIPT)[-2]) / float(_run(BARE)[-1]) for _ in range(5))
    assert any(ratio < 3 for ratio in ratios)
