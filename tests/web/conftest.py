"""A finished run for the tests of result pages: built once, copied for each test."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.audits import kinds
from app.main import create_app
from app.services import accounts
from app.services.reports.snapshot import make_report
from app.store.models import AuditRun, Finding, Membership, Query, User
from app.store.places import get_artifacts, get_blobs
from app.store.session import reading, transaction
from app.web.reader import LiveReader
from tests.conftest import enter, leave
from tests.factories import Signed, create_user
from tests.results_fixture import Built, build


@dataclass
class Results:
    """The finished run, and browsers of the people around it."""

    built: Built
    client: TestClient
    ids: dict[str, int]

    @property
    def run(self) -> str:
        """Path of the run's page."""
        return f"/runs/{self.built.run_id}"

    @property
    def robustness(self) -> str:
        """Path of the page of the run's stress tests."""
        return f"{self.run}/robustness"

    def slice(self, key: str = "direction-cat-0") -> str:
        """Path of a slice's page."""
        return f"{self.run}/slices/{self.built.finding_ids[key]}"

    def signed(self, role: str = "owner") -> Signed:
        """Return a browser of the person with this role."""
        with transaction() as session:
            user = session.get_one(User, self.ids[role])
            return Signed(self.client, accounts.start_session(session, user).token)

    def finding(self, finding_id: int) -> Finding:
        """Return a finding as it stands now."""
        with reading() as session:
            return session.get_one(Finding, finding_id)

    def report(self) -> int:
        """Make a report of the run by its owner; return its id."""
        with transaction() as session:
            run, owner = session.get_one(AuditRun, self.built.run_id), session.get_one(User, self.built.owner_id)
            return make_report(session, run, owner, LiveReader(session, run)).id

    def unmeasured(self, kind: str, why: str) -> str:
        """Return the robustness page of the run when that kind measured nothing."""
        with transaction() as session:
            run = session.get_one(AuditRun, self.built.run_id)
            run.kinds = [*dict.fromkeys([*run.kinds, kind])]
            run.summary = {**run.summary, kind: kinds()[kind].summary.model_validate({"unavailable": why}).model_dump()}
        return self.signed().get(self.robustness).text

    def questions(self) -> list[Query]:
        """Return all questions, oldest first."""
        with reading() as session:
            return list(session.scalars(select(Query).order_by(Query.id)))


@pytest.fixture(scope="session")
def finished(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built, dict[str, int]]:
    """The home of an installation with a finished run."""
    home = tmp_path_factory.mktemp("finished")
    shutil.copyfile(migrated, home / "faultline.db")
    with pytest.MonkeyPatch.context() as patch:
        enter(home, patch)
        with transaction() as session:
            built = build(session, get_artifacts(), get_blobs())
            outsider = create_user(session, "outsider@example.org").id
            viewer = create_user(session, "viewer@example.org")
            session.add(Membership(project_id=built.project_id, user_id=viewer.id, role="viewer"))
            ids = {"owner": built.owner_id, "analyst": built.analyst_id, "viewer": viewer.id, "outsider": outsider}
        leave()
    with closing(sqlite3.connect(home / "faultline.db")) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return home, built, ids


@pytest.fixture
def results(
    finished: tuple[Path, Built, dict[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Results]:
    """A finished run in a database of the test's own; its artifacts are shared, for they never change."""
    home, built, ids = finished
    shutil.copyfile(home / "faultline.db", tmp_path / "faultline.db")
    enter(tmp_path, monkeypatch)
    monkeypatch.setenv("FAULTLINE_STORE_URL", str(home / "store"))
    with TestClient(create_app(), follow_redirects=False) as client:
        yield Results(built, client, ids)
    leave()
