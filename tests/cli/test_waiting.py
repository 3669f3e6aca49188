"""Waiting for a job: with whoever works, else with workers of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from app.cli import follow, waiting
from app.cli.follow import JobFailed
from app.store.models import Dataset, Worker
from app.store.models.base import utcnow
from app.store.repositories import workers
from app.store.session import transaction
from tests.factories import create_dataset, create_project


@pytest.fixture
def dataset(installation: Path) -> int:
    """A data set whose import is queued."""
    with transaction() as session:
        return create_dataset(session, create_project(session).id, status="queued").id


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, dataset: int) -> list[str]:
    """Counts how often workers are started; started ones finish the import."""
    counted: list[str] = []

    @contextmanager
    def supervised() -> Iterator[None]:
        counted.append("started")
        finish(dataset, "succeeded")
        yield

    monkeypatch.setattr(waiting, "supervised", supervised)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.01)
    return counted


def finish(dataset: int, status: str, error: str = "") -> None:
    with transaction() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset).values(status=status, error=error))


def announce() -> None:
    with transaction() as session:
        values = {"role": "cpu", "host": "here", "process_id": 1, "device": "cpu", "version": "0"}
        workers.announce(session, "here-cpu0", values)


def test_workers_are_started_where_none_runs(dataset: int, started: list[str]) -> None:
    waiting.wait("dataset", dataset)
    assert started == ["started"]


def test_a_job_that_has_ended_needs_no_workers(dataset: int, started: list[str]) -> None:
    finish(dataset, "succeeded")
    waiting.wait("dataset", dataset)
    assert started == []


def test_workers_that_vanish_are_replaced(dataset: int, started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    announce()
    looks: list[int] = []
    look = follow._look

    def vanishing(subject: str, subject_id: int) -> follow.Now:
        looks.append(1)
        if len(looks) == 3:
            with transaction() as session:
                session.execute(update(Worker).values(heartbeat_at=utcnow() - timedelta(minutes=2)))
        return look(subject, subject_id)

    monkeypatch.setattr(follow, "_look", vanishing)
    waiting.wait("dataset", dataset)
    assert started == ["started"]
    assert len(looks) > 3


def test_a_failure_is_told_in_the_job_s_own_words(dataset: int, started: list[str]) -> None:
    finish(dataset, "failed", "The archive is truncated.")
    with pytest.raises(JobFailed, match="The archive is truncated"):
        waiting.wait("dataset", dataset)
