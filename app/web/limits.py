"""A limit on failed sign-ins, per address and per account; kept in this process's memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from app.errors import FaultlineError


class TooManyAttempts(FaultlineError):
    """Too many failed sign-ins in a short time."""

    status = 429


class AttemptLimit:
    """At most `most` failures within `window` seconds under one key; successes forget the key's failures."""

    def __init__(self, most: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._window, self._clock = most, window, clock
        self._failures: dict[str, deque[float]] = {}
        self._lock = Lock()

    def check(self, key: str) -> None:
        """Let the attempt pass.

        Raises:
            TooManyAttempts: the key has failed too often; the message says when to try again.
        """
        with self._lock:
            failures = self._recent(key)
            if len(failures) >= self._most:
                minutes = max(1, round((failures[0] + self._window - self._clock()) / 60))
                raise TooManyAttempts(f"Too many failed attempts. Try again in {minutes} min.")

    def fail(self, key: str) -> None:
        """Count a failure."""
        with self._lock:
            self._recent(key).append(self._clock())
            for stale in [name for name in self._failures if not self._recent(name)]:
                del self._failures[stale]

    def succeed(self, key: str) -> None:
        """Forget the key's failures."""
        with self._lock:
            self._failures.pop(key, None)

    def _recent(self, key: str) -> deque[float]:
        failures = self._failures.setdefault(key, deque())
        while failures and failures[0] <= self._clock() - self._window:
            failures.popleft()
        return failures
