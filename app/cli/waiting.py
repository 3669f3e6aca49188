"""Waits for a job, with workers of our own where none is running."""

from __future__ import annotations

from app.cli.follow import follow
from app.cli.processes import supervised
from app.store.repositories import workers
from app.store.session import reading


class Unattended(Exception):
    """The workers that were there have gone."""


def wait(subject: str, subject_id: int) -> None:
    """Follow a job to its end; `serve` or `worker` may run elsewhere, else this command starts workers for itself.

    Raises:
        JobFailed: the job failed or was cancelled.
    """
    try:
        follow(subject, subject_id, _require_workers)
    except Unattended:
        with supervised():
            follow(subject, subject_id)


def _require_workers() -> None:
    with reading() as session:
        if not workers.alive(session):
            raise Unattended
