"""Which tests run and how; and what tests of the web share: an installation for each, and people signed in to it.

A plain `pytest` leaves out what is marked `long`: real worker processes that are killed and restarted, PostgreSQL, full
disks, and the dearest chains, of which each audit kind keeps one in the plain run. `make test` and `pytest -m ''` run
every test; a module that is named (`pytest tests/workers/test_chain.py`) is run whole, in one process.
"""

from __future__ import annotations

import os
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
_PLAIN = "not long"
_LONG = {"acceptance", "postgres"}
"""Markers whose tests are all long."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes, of one thread each; none beside pytest's own where modules were named."""
    if _named(config):
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return 2


def pytest_configure(config: pytest.Config) -> None:
    """A module that is named is run whole."""
    if _named(config) and config.option.markexpr == _PLAIN:
        config.option.markexpr = ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real jobs come first, so that no slow test is left to a single process at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(_SLOW))
    for item in items:
        if any(item.get_closest_marker(name) for name in _LONG):
            item.add_marker(pytest.mark.long)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what a plain run left out."""
    if config.option.markexpr == _PLAIN:
        terminalreporter.write_line("Long tests were left out; `pytest -m ''` and `make test` run every test.")


def _named(config: pytest.Config) -> bool:
    return any(".py" in argument for argument in config.args)


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
