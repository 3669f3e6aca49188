"""The SQL of jobs: what may write when, counters, and what a cancel leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.services import queue
from app.store.models import AuditRun, Dataset, Query
from app.store.repositories import jobs, subjects
from app.store.repositories.jobs import Job, StagePlan
from app.store.session import get_engine, reading, transaction
from tests.workers import build
from workers import maintenance

PLANS = [StagePlan("predict", "Predict", "rows", 10), StagePlan("publish", "Write", "%", 100)]


@pytest.fixture
def run(home: Path) -> AuditRun:
    with transaction() as session:
        project = build.project(session)
        dataset = Dataset(project_id=project, name="d", source={})
        session.add(dataset)
        session.flush()
        return build.run(session, dataset, build.version(session, project, b"weights"))


def begun(run: AuditRun) -> Job:
    job = Job("run", run.id, run.attempt)
    with transaction() as session:
        assert jobs.start(session, job)
        jobs.plan_stages(session, job, PLANS)
        jobs.begin_stage(session, job, "predict", total=10, cached=4)
    return job


def stage(run: AuditRun, name: str = "predict"):
    with reading() as session:
        return next(row for row in jobs.stages(session, "run", run.id) if row.name == name)


def status(run: AuditRun) -> str:
    with reading() as session:
        return session.get_one(AuditRun, run.id).status


def undone(act: Callable[[Session], object]) -> None:
    """Act in a transaction that is rolled back."""
    with Session(get_engine()) as session:
        act(session)
        session.rollback()


def test_counter_starts_at_what_was_cached_and_never_passes_its_total(run: AuditRun) -> None:
    job = begun(run)
    with transaction() as session:
        jobs.add_done(session, job, "predict", 5)
    assert (stage(run).done, stage(run).cached) == (9, 4)
    with transaction() as session:
        jobs.add_done(session, job, "predict", 5)
    assert stage(run).done == 10


def test_success_counts_the_whole_stage(run: AuditRun) -> None:
    job = begun(run)
    with transaction() as session:
        jobs.end_stage(session, job, "predict", "succeeded", artifact_key="k")
        jobs.end_stage(session, job, "publish", "succeeded", cached=True)
    assert (stage(run).done, stage(run).artifact_key, stage(run).cached) == (10, "k", 4)
    assert (stage(run, "publish").cached, stage(run, "publish").done) == (100, 100)
    assert stage(run, "publish").started_at is not None


def test_planning_again_replaces_the_stages(run: AuditRun) -> None:
    job = begun(run)
    with transaction() as session:
        jobs.plan_stages(session, job, PLANS[:1])
    with reading() as session:
        rows = jobs.stages(session, "run", run.id)
    assert [(row.name, row.status, row.done) for row in rows] == [("predict", "queued", 0)]


def test_cancel_is_final_for_the_attempt(run: AuditRun) -> None:
    job = begun(run)
    with transaction() as session:
        assert jobs.request_cancel(session, Job("run", run.id))
        assert not jobs.request_cancel(session, Job("run", run.id))
    with transaction() as session:
        jobs.add_done(session, job, "predict", 3)
        jobs.set_progress(session, job, "predict", 7, "late")
        assert not jobs.finish(session, job, "succeeded")
        assert not jobs.start(session, job)
        assert not jobs.wanted(session, job)
    assert (status(run), stage(run).status, stage(run).done) == ("cancelled", "cancelled", 4)
    with reading() as session:
        assert "resume" in jobs.log_lines(session, "run", run.id)[-1].text


def test_resume_speaks_for_the_new_attempt_only(run: AuditRun) -> None:
    old = begun(run)
    with transaction() as session:
        assert jobs.resume(session, run.id) is None
        jobs.finish(session, old, "failed", "boom")
    assert status(run) == "failed"
    with transaction() as session:
        assert jobs.resume(session, run.id) == 1
    new = Job("run", run.id, 1)
    with transaction() as session:
        assert jobs.start(session, new)
        jobs.plan_stages(session, new, PLANS)
        jobs.begin_stage(session, new, "predict", total=10)
        jobs.add_done(session, old, "predict", 5)
        assert not jobs.finish(session, old, "succeeded")
        assert jobs.wanted(session, new)
        assert not jobs.wanted(session, old)
    assert (status(run), stage(run).done) == ("running", 0)


def test_failure_ends_open_stages_and_keeps_finished_ones(run: AuditRun) -> None:
    job = begun(run)
    with transaction() as session:
        jobs.end_stage(session, job, "predict", "succeeded")
        jobs.finish(session, job, "failed", "boom")
    assert (stage(run).status, stage(run, "publish").status) == ("succeeded", "failed")
    with reading() as session:
        found = session.get_one(AuditRun, run.id)
    assert found.error == "boom"
    assert found.finished_at is not None


def test_log_lines_come_in_order_and_by_page(run: AuditRun) -> None:
    job = Job("run", run.id)
    with transaction() as session:
        for text in ("a", "b", "c"):
            jobs.log(session, job, text)
    with reading() as session:
        lines = jobs.log_lines(session, "run", run.id)
        assert [line.text for line in lines] == ["a", "b", "c"]
        assert [line.text for line in jobs.log_lines(session, "run", run.id, after=lines[0].id, limit=1)] == ["b"]


def test_submission_is_part_of_the_transaction(run: AuditRun) -> None:
    undone(lambda session: queue.enqueue(session, "audit_run", run.id))
    with reading() as session:
        assert queue.status(session, f"run-{run.id}-0") is None
    for _ in range(2):
        with transaction() as session:
            assert queue.enqueue(session, "audit_run", run.id) == f"run-{run.id}-0"
    with reading() as session:
        assert queue.status(session, f"run-{run.id}-0") == "ENQUEUED"


def test_cancel_reaches_the_engine_with_the_commit(run: AuditRun) -> None:
    with transaction() as session:
        job = queue.enqueue(session, "audit_run", run.id)
    undone(lambda session: queue.cancel(session, job))
    with reading() as session:
        assert queue.status(session, job) == "ENQUEUED"
    with transaction() as session:
        jobs.request_cancel(session, Job("run", run.id))
        queue.cancel(session, job)
    with reading() as session:
        assert queue.status(session, job) == "CANCELLED"


def test_jobs_that_the_engine_gave_up_are_closed(run: AuditRun) -> None:
    with transaction() as session:
        query = build.query(session, run.id)
        waiting = queue.enqueue(session, "audit_run", run.id)
        lost = queue.enqueue(session, "answer_query", query.id, priority=0)
    with transaction() as session:
        queue.cancel(session, lost)
        session.get_one(Query, query.id).status = "running"
    assert maintenance.close_abandoned() == [Job("query", query.id)]
    with reading() as session:
        assert session.get_one(Query, query.id).status == "cancelled"
        assert queue.status(session, waiting) == "ENQUEUED"
    assert status(run) == "queued"


def test_the_engine_forgets_what_ended_long_ago(run: AuditRun) -> None:
    with transaction() as session:
        ended = queue.enqueue(session, "audit_run", run.id)
        waiting = queue.enqueue(session, "audit_run", run.id, attempt=1)
    with transaction() as session:
        session.get_one(AuditRun, run.id).name = "x"
        queue.cancel(session, ended)
    assert queue.forget() == 0
    assert queue.forget(days=-1) == 1
    with reading() as session:
        assert queue.status(session, ended) is None
        assert queue.status(session, waiting) == "ENQUEUED"


def test_results_are_written_by_the_attempt_that_stands_only(run: AuditRun) -> None:
    old = Job("run", run.id)
    with transaction() as session:
        jobs.start(session, old)
        jobs.request_cancel(session, old)
        new = Job("run", run.id, jobs.resume(session, run.id) or 0)
        jobs.start(session, new)
        subjects.fill_run(session, run.id, old.attempt, {"summary": {"of": "the stopped one"}})
        subjects.fill_run(session, run.id, new.attempt, {"scores_key": "scores-1-new"})
    with reading() as session:
        stored = session.get_one(AuditRun, run.id)
        assert (stored.summary, stored.scores_key) == ({}, "scores-1-new")
