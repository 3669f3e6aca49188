"""A real server with a finished run, and Chromium to look at it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.web.deps import SESSION_COOKIE
from tests.factories import PASSWORD

EMAIL = "ada@example.org"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, without a screen."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("SKIPPED BROWSER TESTS: no Chromium on this machine; install the package “chromium”.")
    playwright = pytest.importorskip("playwright.sync_api", reason="SKIPPED BROWSER TESTS: playwright is missing.")
    flags = ["--headless", "--no-sandbox", "--enable-unsafe-swiftshader", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Site:
    """A running server."""

    address: str
    session: str
    """Token of a signed-in session."""


@pytest.fixture(scope="module")
def site(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that shows a finished, a running and a failed run."""
    import uvicorn

    from app.main import create_app
    from tests.conftest import enter, leave

    home = tmp_path_factory.mktemp("site")
    shutil.copyfile(migrated, home / "faultline.db")
    with pytest.MonkeyPatch.context() as patch:
        enter(home, patch)
        session = _fill()
        server = uvicorn.Server(uvicorn.Config(create_app(), port=0, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Site(f"http://127.0.0.1:{port}", session)
        server.should_exit = True
        thread.join(10)
        leave()


@pytest.fixture
def page(chromium: Any, site: Site) -> Iterator[Any]:
    """A telephone's page, signed in; `page.errors` collects violations of the policy and script errors."""
    context = chromium.new_context(viewport={"width": 390, "height": 844}, base_url=site.address)
    context.add_cookies([{"name": SESSION_COOKIE, "value": site.session, "url": site.address}])
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
    yield page
    context.close()


@pytest.fixture
def judged(site: Site) -> tuple[np.ndarray, np.ndarray]:
    """True classes of the finished run's images and which are wrong: what results of stress tests are made from."""
    from app.store.models import AuditRun
    from app.store.session import reading
    from app.web.reader import LiveReader

    with reading() as session:
        columns = LiveReader(session, session.get_one(AuditRun, 1)).score_reader.columns(["label", "correct"])
    return columns["label"].astype(int), ~columns["correct"].astype(bool)


@pytest.fixture
def unscripted(page: Any, chromium: Any, site: Site) -> Iterator[Any]:
    """A page of a browser that runs no scripts, signed in as `page` is."""
    context = chromium.new_context(java_script_enabled=False, base_url=site.address)
    context.add_cookies(page.context.cookies())
    yield context.new_page()
    context.close()


def _fill() -> str:
    from app.services import accounts
    from app.store.models import User
    from app.store.places import get_artifacts, get_blobs
    from app.store.session import transaction
    from tests import factories
    from tests.results_fixture import build

    with transaction() as session:
        built = build(session, get_artifacts(), get_blobs(), per_class=40)
        owner = session.get_one(User, built.owner_id)
        owner.email, owner.password_hash = EMAIL, accounts.hash_password(PASSWORD)
        running = factories.create_run(session, built.project_id, status="running")
        factories.create_stage(session, "run", running.id)
        factories.create_log(session, "run", running.id, "Predicting")
        same = {"model_version_id": running.model_version_id, "dataset_id": running.dataset_id}
        factories.create_run(session, built.project_id, status="failed", error="The model returned NaN.", **same)
        return accounts.start_session(session, owner).token
