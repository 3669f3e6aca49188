"""The demo's two runs: what they ask for, that neither is done twice, and that a stop in the middle loses nothing."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from app.audits import kinds
from app.cli import demo_runs
from app.cli.demo_runs import Demo
from app.cli.follow import JobFailed
from app.store.models import AuditRun, Model
from app.store.session import reading, transaction
from tests.factories import create_dataset, create_version

demo = importlib.import_module("app.cli.demo")  # the package has the command under that name
ROOT = "http://127.0.0.1:8400"


@pytest.fixture
def made(installation: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    """A demo whose data set and classifier are there; what is followed succeeds."""
    monkeypatch.setattr(demo_runs, "follow", finish)
    with transaction() as session:
        user, project = demo._owner(session)
        create_dataset(session, project.id, name=demo_runs.DATASET)
        version = create_version(session, project.id)
        session.get_one(Model, version.model_id).name = demo_runs.MODEL
    return Demo(user, project, "scenes", lambda: None)


def finish(_subject: str, run_id: int, between: object = None) -> None:
    with transaction() as session:
        session.get_one(AuditRun, run_id).status = "succeeded"


def kept() -> list[AuditRun]:
    with reading() as session:
        return list(session.scalars(select(AuditRun).order_by(AuditRun.id)))


def test_stress_tests_take_every_kind_on_the_quick_budget_and_the_training_split_as_second_set(made: Demo) -> None:
    run = demo_runs.stress(made)
    tests = {name for name, kind in kinds().items() if kind.stress_test}
    assert tests < set(run.kinds)
    assert "slices" in run.kinds
    assert {run.params[name]["budget"] for name in tests} == {"quick"}
    assert run.params["shift"]["second"] == f"{run.dataset_id}/train"
    assert (run.split, run.train_split) == ("test", "train")


def test_nothing_is_done_twice_and_neither_run_is_taken_for_the_other(made: Demo) -> None:
    first, second = demo_runs.audit(made), demo_runs.stress(made)
    assert first.id != second.id
    assert (demo_runs.audit(made).id, demo_runs.stress(made).id) == (first.id, second.id)
    assert [run.kinds for run in kept()] == [["slices"], second.kinds]


def test_what_was_stopped_in_the_middle_goes_on(made: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_runs, "follow", stopped)
    with pytest.raises(KeyboardInterrupt):
        demo_runs.stress(made)
    monkeypatch.setattr(demo_runs, "follow", finish)
    assert demo_runs.stress(made).id == kept()[0].id
    assert len(kept()) == 1


def test_links_are_told_as_soon_as_each_run_is_done(
    made: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_audit_and_tell", lambda made, root: print("Ready"))
    demo._run_and_tell(made, 8400, stress_tests=True)
    told = capsys.readouterr().out
    assert told.index("Ready") < told.index("Stress tests, quick budget") < told.index("Stress tests after")
    assert f"{ROOT}/runs/{kept()[0].id}/robustness" in told


def test_stress_tests_may_be_left_out_and_a_failure_is_one_sentence(
    made: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_audit_and_tell", lambda made, root: None)
    demo._run_and_tell(made, 8400, stress_tests=False)
    assert kept() == []

    def failed(*_: object) -> None:
        raise JobFailed("The disk is full.")

    monkeypatch.setattr(demo_runs, "follow", failed)
    demo._run_and_tell(made, 8400, stress_tests=True)
    assert capsys.readouterr().err.strip() == "The disk is full."


def test_a_server_that_ends_ends_the_telling(made: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    def between() -> None:
        looked.set()
        raise demo._Stopped

    monkeypatch.setattr(demo, "_audit_and_tell", lambda made, root: None)
    monkeypatch.setattr(demo_runs, "follow", lambda subject, id_, between: between())
    demo._run_and_tell(made._replace(between=between), 8400, stress_tests=True)
    assert looked.is_set()
    assert kept()[0].status == "queued"
