"""The bounds that the parent holds: time, processor time, memory, space."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from workers.sandbox.errors import SandboxCancelled, SandboxError, SandboxMemory, SandboxTimeout
from workers.sandbox.limits import GiB, Limits
from workers.sandbox.process import cpu_seconds, folder_bytes, resident_bytes

_FOLDER_EVERY = 1.0


class Watch:
    """Looks at one child during one request; `check` raises what is wrong."""

    def __init__(
        self,
        pid: int,
        folder: Path,
        limits: Limits,
        timeout: float | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self._pid, self._folder, self._limits = pid, folder, limits
        self._seconds = limits.seconds if timeout is None else timeout
        # Who allows more time than a request usually has allows it on every core.
        self._cpu_seconds = max(limits.cpu_seconds, (timeout or 0) * (os.cpu_count() or 1))
        self._should_stop = should_stop
        self._began = self._folder_seen = time.monotonic()
        self._cpu_before = cpu_seconds(pid)
        self.peak_bytes = 0

    def check(self) -> None:
        """Raise the `SandboxError` that fits, if a bound is passed or somebody wants to stop."""
        now = time.monotonic()
        error = self._stopped() or self._late(now) or self._fat() or self._full(now)
        if error is not None:
            raise error

    def _stopped(self) -> SandboxError | None:
        if self._should_stop is not None and self._should_stop():
            return SandboxCancelled("Cancelled.")
        return None

    def _late(self, now: float) -> SandboxError | None:
        if now - self._began > self._seconds:
            return SandboxTimeout(f"It did not finish within {self._seconds:g} s and was stopped.")
        if cpu_seconds(self._pid) - self._cpu_before > self._cpu_seconds:
            return SandboxTimeout(f"It used over {self._cpu_seconds:g} s of processor time and was stopped.")
        return None

    def _fat(self) -> SandboxError | None:
        resident = resident_bytes(self._pid)
        self.peak_bytes = max(self.peak_bytes, resident)
        if resident <= self._limits.memory_bytes:
            return None
        return SandboxMemory(
            f"It held {resident / GiB:.1f} GiB of memory and was stopped; the limit is "
            f"{self._limits.memory_bytes / GiB:.1f} GiB."
        )

    def _full(self, now: float) -> SandboxError | None:
        if now - self._folder_seen < _FOLDER_EVERY:
            return None
        self._folder_seen = now
        used = folder_bytes(self._folder)
        if used <= self._limits.folder_bytes:
            return None
        return SandboxMemory(
            f"It wrote {used / GiB:.1f} GiB of files and was stopped; the limit is "
            f"{self._limits.folder_bytes / GiB:.1f} GiB."
        )
