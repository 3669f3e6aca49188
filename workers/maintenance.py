"""What the control worker does beside its flows: give the work of lost machines to others, forget old workflows."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

from app.store.repositories import workers as worker_rows
from app.store.session import reading

_LOG = logging.getLogger(__name__)
EVERY_SECONDS = 60.0


class Maintenance:
    """Called with every heartbeat; acts once a minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def tick(self) -> None:
        """Do what is due."""
        if time.monotonic() - self._last < EVERY_SECONDS:
            return
        self._last = time.monotonic()
        recover_lost()


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
