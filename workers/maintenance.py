"""What the control worker does beside its flows: work of lost machines, jobs that nothing works on, old remains."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable

from app.services import queue
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.repositories import workers as worker_rows
from app.store.repositories.jobs import Job
from app.store.session import reading, transaction

_LOG = logging.getLogger(__name__)
ENDED = {"ERROR": "failed", "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed", "CANCELLED": "cancelled"}
_WHY = "It killed its worker again and again, and was set aside."
_WORKFLOWS: dict[str, queue.Workflow] = {
    "dataset": "import_dataset",
    "model_version": "check_model",
    "run": "audit_run",
    "query": "answer_query",
}


class Maintenance:
    """Called with every heartbeat; each duty has its own interval."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._duties: list[tuple[float, Callable[[], object]]] = [
            (60.0, recover_lost),
            (60.0, close_abandoned),
            (3600.0, sweep),
            (3600.0, queue.forget),
        ]
        self._last = [now] * len(self._duties)

    def tick(self) -> None:
        """Do what is due."""
        for i, (seconds, duty) in enumerate(self._duties):
            if time.monotonic() - self._last[i] >= seconds:
                self._last[i] = time.monotonic()
                duty()


def recover_lost() -> list[str]:
    """Requeue what workers held that were not heard of for five minutes; return their ids.

    A process of its own takes the lost one's executor id and listens to no queue: so the engine's count of how often
    each unit lost its worker goes on.
    """
    with reading() as session:
        gone = worker_rows.lost(session)
    for executor_id in gone:
        _LOG.warning("worker %s is lost; its work is queued again", executor_id)
        command = [sys.executable, "-m", "workers.main", "--role", "recover", "--executor", executor_id]
        subprocess.run(command, check=False, timeout=120)  # noqa: S603 - our own module
    return gone


def close_abandoned() -> list[Job]:
    """End the rows of jobs that the engine has given up; return them."""
    with transaction() as session:
        abandoned = []
        for job in jobs.active(session):
            word = queue.status(session, queue.workflow_id(_WORKFLOWS[job.type], job.id, job.attempt))
            if word in ENDED and jobs.finish(session, job, ENDED[word], _WHY if ENDED[word] == "failed" else ""):
                abandoned.append(job)
    return abandoned


def sweep() -> int:
    """Remove what killed writers left in the stores."""
    return get_artifacts().sweep() + get_blobs().sweep()
