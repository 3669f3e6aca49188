"""Imports and checks that somebody cancels while they work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.store.models import Dataset, ModelVersion
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.session import reading, transaction
from tests.workers import build
from workers import execute
from workers.testing import Twin
from workers.work import Work

real = execute.stage


def cancel_in_the_middle(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Cancel the job as its stage `name` begins; all that follows is real."""

    def stage(wanted: str) -> Any:
        def run(work: Work) -> dict[str, Any]:
            if wanted == name:
                with transaction() as session:
                    assert jobs.request_cancel(session, work.job)
            return real(wanted)(work)

        return run

    monkeypatch.setattr(execute, "stage", stage)


def test_an_import_stops_and_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancel_in_the_middle(monkeypatch, "ingest")
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), build.images_zip(400))
    Twin().run_workflow("import_dataset", dataset.id)
    with reading() as session:
        found = session.get_one(Dataset, dataset.id)
        assert (found.status, found.error, found.rows) == ("cancelled", "", 0)
        assert [row.status for row in jobs.stages(session, "dataset", dataset.id)] == ["cancelled"]
    assert get_artifacts().sizes() == {}
    assert [path for path in (home / "sandbox").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("stage", ["inspect", "smoke"])
def test_a_check_stops_and_stays_cancelled(home: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    cancel_in_the_middle(monkeypatch, stage)
    with transaction() as session:
        version = build.version(session, build.project(session), build.weights())
    twin = Twin()
    twin.run_workflow("check_model", version.id)
    assert twin.ran[-1]["stage"] == stage
    with reading() as session:
        found = session.get_one(ModelVersion, version.id)
        assert (found.status, found.error, found.smoke) == ("cancelled", "", {})
