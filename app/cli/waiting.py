"""Waits for a job, with workers of our own where none is running."""

from __future__ import annotations

from contextlib import nullcontext

from app.cli.follow import follow
from app.cli.processes import supervised
from app.store.repositories import workers
from app.store.session import reading


def wait(subject: str, subject_id: int) -> None:
    """Follow a job to its end; `serve` or `worker` may run elsewhere, else this command starts workers for itself.

    Raises:
        JobFailed: the job failed or was cancelled.
    """
    with reading() as session:
        alive = workers.alive(session)
    with nullcontext() if alive else supervised():
        follow(subject, subject_id)
