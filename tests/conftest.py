"""What tests of the web share: an installation of their own for each, and people signed in to it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.main import create_app
from app.services import queue, uploads
from app.settings import get_settings
from app.store.places import get_artifacts, get_blobs
from app.store.session import get_engine
from app.web.pages import entry
from tests.factories import People, Signed, people_of

_CACHED = (get_settings, get_artifacts, get_blobs, get_engine, queue.client, uploads._uploads)
_SLOW = Path(__file__).parent / "workers"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real jobs come first, so that no long test is left to a single process at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(_SLOW))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database brought up by the real migrations and the job engine's own, once; each test gets a copy."""
    folder = tmp_path_factory.mktemp("migrated")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        queue.prepare()
        leave()
    with closing(sqlite3.connect(folder / "faultline.db")) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "faultline.db"


@pytest.fixture
def installation(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of an empty installation; this process reads and writes there."""
    shutil.copyfile(migrated, tmp_path / "faultline.db")
    enter(tmp_path, monkeypatch)
    for limit in (entry.ACCOUNT_LIMIT, entry.ADDRESS_LIMIT):
        limit._failures.clear()
    yield tmp_path
    leave()


@pytest.fixture(scope="session")
def application() -> FastAPI:
    """The application, made once: it looks for its installation with every request."""
    return create_app()


@pytest.fixture
def client(installation: Path, application: FastAPI) -> Iterator[TestClient]:
    """A visitor who has not signed in; redirects are not followed."""
    with TestClient(application, follow_redirects=False) as visitor:
        yield visitor


@pytest.fixture
def people(installation: Path) -> People:
    """An owner, an analyst, a viewer and an outsider, of whom the first three share a project."""
    return people_of()


@pytest.fixture
def owner(people: People, client: TestClient) -> Signed:
    """The owner's browser."""
    return people.sign_in(client, "owner")


@pytest.fixture
def analyst(people: People, client: TestClient) -> Signed:
    """The analyst's browser."""
    return people.sign_in(client, "analyst")


def enter(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Point this process at the installation in `home`."""
    patch.setenv("FAULTLINE_HOME", str(home))
    patch.setenv("FAULTLINE_DEVICE", "cpu")
    for cached in _CACHED:
        cached.cache_clear()


def leave() -> None:
    """Forget the installation."""
    get_engine().dispose()
    for cached in _CACHED:
        cached.cache_clear()
