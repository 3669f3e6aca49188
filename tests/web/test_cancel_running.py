"""A run under way is cancelled: the row at once, the engine after the commit and never before, resume as a new job."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.errors import Conflict
from app.services import queue, request_audit
from app.store.models import AuditRun, LogLine, Stage, User
from app.store.repositories import jobs
from app.store.repositories.jobs import Job, StagePlan
from app.store.session import reading, transaction
from tests.factories import People, create_run


@pytest.fixture
def running(people: People) -> Job:
    """A run whose first stage has done 40 of 100 rows, known to the engine."""
    with transaction() as session:
        run = create_run(session, people.project_id)
        queue.enqueue(session, "audit_run", run.id)
    job = Job("run", run.id)
    with transaction() as session:
        assert jobs.start(session, job)
        jobs.plan_stages(session, job, [StagePlan("predict", "Predict"), StagePlan("embed", "Embed")])
        jobs.begin_stage(session, job, "predict", total=100)
        jobs.add_done(session, job, "predict", 40)
    return job


def act(people: People, job: Job, action: str) -> None:
    with transaction() as session:
        user = session.get_one(User, people.ids["analyst"])
        getattr(request_audit, action)(session, session.get_one(AuditRun, job.id), user)


def engine(job: Job, attempt: int = 0) -> str | None:
    with reading() as session:
        return queue.status(session, queue.workflow_id("audit_run", job.id, attempt))


def test_a_running_run_stops_and_keeps_what_it_did(people: People, running: Job) -> None:
    act(people, running, "cancel")
    with reading() as session:
        run = session.get_one(AuditRun, running.id)
        assert (run.status, run.cancel_requested, run.error) == ("cancelled", True, "")
        assert run.finished_at is not None
        stages = {stage.name: (stage.status, stage.done) for stage in session.scalars(select(Stage))}
        assert stages["predict"] == ("cancelled", 40)
        assert not jobs.wanted(session, running)
        assert [line.text for line in session.scalars(select(LogLine))][-1].startswith("Cancelled")
    assert engine(running) == "CANCELLED"


def test_the_engine_is_told_after_the_commit_only(
    people: People, running: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before, it could stop the work while the row still says that somebody is at it."""
    seen: list[str] = []

    class Engine:
        def cancel_workflow(self, job: str, cancel_children: bool) -> None:
            with reading() as session:
                seen.append(f"{job} {cancel_children} {session.get_one(AuditRun, running.id).status}")

    monkeypatch.setattr(queue, "client", Engine)
    with transaction() as session:
        user = session.get_one(User, people.ids["analyst"])
        request_audit.cancel(session, session.get_one(AuditRun, running.id), user)
        assert seen == []
    assert seen == [f"run-{running.id}-0 True cancelled"]


def test_a_transaction_that_fails_cancels_nothing(people: People, running: Job) -> None:
    def interrupted() -> None:
        with transaction() as session:
            user = session.get_one(User, people.ids["analyst"])
            request_audit.cancel(session, session.get_one(AuditRun, running.id), user)
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        interrupted()
    assert engine(running) == "ENQUEUED"
    with reading() as session:
        assert session.get_one(AuditRun, running.id).status == "running"
        assert jobs.wanted(session, running)


def test_late_words_of_the_stopped_worker_change_nothing(people: People, running: Job) -> None:
    act(people, running, "cancel")
    act(people, running, "resume")
    with transaction() as session:
        jobs.add_done(session, running, "predict", 60)
        jobs.finish(session, running, "failed", "late")
    with reading() as session:
        run = session.get_one(AuditRun, running.id)
        assert (run.status, run.attempt, run.error) == ("queued", 1, "")
    assert engine(running, 1) == "ENQUEUED"
    with pytest.raises(Conflict, match="failed or was cancelled"):
        act(people, running, "resume")
