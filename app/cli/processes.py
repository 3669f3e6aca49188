"""Starts workers beside this process; they are processes of their own, so nothing of `workers` is imported here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import app
from app.errors import UserError

NICENESS = 5
"""Of workers beside a server: who browses comes first."""


@contextmanager
def supervised() -> Iterator[None]:
    """Run this machine's workers while the block runs; they die with this process, however it ends."""
    command = [*worker_command(), "--parent", str(os.getpid())]
    supervisor = subprocess.Popen(command)  # noqa: S603 - our own module
    os.setpriority(os.PRIO_PROCESS, supervisor.pid, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    try:
        yield
    finally:
        supervisor.terminate()
        try:
            supervisor.wait(10)
        except subprocess.TimeoutExpired:
            supervisor.kill()


def worker_command() -> list[str]:
    """Return the command that starts workers.

    Raises:
        UserError: `app` and `workers` are common names, and another package of that name comes first.
    """
    found = importlib.util.find_spec("workers.main")
    ours = Path(app.__file__ or "").resolve().parent.parent
    if found is None or found.origin is None or not Path(found.origin).resolve().is_relative_to(ours):
        raise UserError(
            "Another package named “workers” hides Faultline's. Run faultline from another folder, or in an "
            "environment of its own."
        )
    return [sys.executable, "-m", "workers.main"]
