"""Keeps this machine's workers alive: one control worker, and one worker for each device."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from app.settings import Settings
from workers.device import device_class, gpu_count

_LOG = logging.getLogger(__name__)
_CALM_SECONDS = 30.0
_LONGEST_PAUSE = 30.0


@dataclass
class _Post:
    """A place that a worker fills."""

    role: str
    index: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = field(default=0.0)


class Supervisor:
    """Starts workers, restarts those that die under the same executor id, stops all when told."""

    def __init__(self, settings: Settings, module: str = "workers.main") -> None:
        self._module = module
        self._told = threading.Event()
        self._posts = [_Post(role, index) for role, index in posts(settings)]

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._told.set())
        while not self._told.is_set():
            for post in self._posts:
                self._tend(post)
            self._told.wait(0.2)
        self._stop()
        return 0

    def _tend(self, post: _Post) -> None:
        now = time.monotonic()
        if post.process is not None and post.process.poll() is None:
            return
        if post.process is not None:
            post.failures = 0 if now - post.started > _CALM_SECONDS else post.failures + 1
            # The first restarts are immediate: a shard that kills its worker should not cost minutes.
            pause = min(0.1 * 2 ** max(0, post.failures - KEEN), _LONGEST_PAUSE)
            post.not_before = now + pause
            _LOG.warning("worker %s%s ended with %s", post.role, post.index, post.process.returncode)
            post.process = None
        if now >= post.not_before:
            post.process, post.started = self._start(post), now

    def _start(self, post: _Post) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self._module, "--role", post.role, "--index", str(post.index)]
        return subprocess.Popen([*command, "--parent", str(os.getpid())])  # noqa: S603 - our own module

    def _stop(self) -> None:
        running = [post.process for post in self._posts if post.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + 5
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


KEEN = 6
"""So many restarts in a row are nearly immediate; then the pause doubles."""


def posts(settings: Settings) -> list[tuple[str, int]]:
    """(role, index) of every worker of this machine."""
    gpus = gpu_count() if device_class(settings) == "cuda" else 0
    # Without a GPU somebody must still compute.
    cpus = max(settings.cpu_workers, 0 if gpus else 1)
    return [("control", 0), *(("gpu", i) for i in range(gpus)), *(("cpu", i) for i in range(cpus))]
