"""One warm child for untrusted work."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.errors import FaultlineError, StorageFull, UserError
from app.store.durable import NO_SPACE
from workers.sandbox import process
from workers.sandbox.channel import Channel
from workers.sandbox.child import PREFIXES
from workers.sandbox.errors import SandboxCrashed, SandboxError, SandboxFailed, SandboxMemory, SandboxTimeout
from workers.sandbox.limits import Limits
from workers.sandbox.watch import Watch

_POLL_SECONDS = 0.05
_NEARLY_FULL = 2**20
"""Free bytes below which a mapped file that could not grow (SIGBUS) means a full disk."""
Progress = Callable[[dict[str, Any]], None]


class Sandbox:
    """Runs functions of ours over things that are not ours, in a child that can do nothing else.

    The child reads `readable` and writes `folder`; it has no network, no secrets and cannot start programs.
    It stays warm from request to request, is killed when a request passes a bound or is stopped, and the
    next request starts a fresh one. Give each model or data set a sandbox of its own: one that was taken over
    by its first guest must not serve a second.
    """

    def __init__(self, folder: Path, limits: Limits, *, readable: Sequence[Path] = (), device: str = "cpu") -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.measures: dict[str, str] = {}
        self._limits = limits
        self._readable = [path.resolve() for path in readable]
        self._device = device
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id while one is alive."""
        return self._child.pid if self._child is not None else None

    @property
    def tail(self) -> str:
        """The last lines of the child's error stream, for the log."""
        return self._channel.tail if self._channel is not None else ""

    def request(
        self,
        function: str,
        payload: dict[str, Any],
        *,
        timeout: float | None = None,
        on_progress: Progress | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Call "package.module:callable" with `payload` in the child and return its answer.

        `timeout` replaces the limit's seconds. `should_stop` is asked about 20 times a second.

        Raises:
            UserError: raised by the function, with its message.
            SandboxTimeout, SandboxMemory, SandboxCancelled: a bound was passed; the child was killed.
            StorageFull: there was no space for what the function writes.
            SandboxFailed: the function raised anything else.
            SandboxCrashed: the child died.
        """
        if not function.startswith(PREFIXES):
            raise ValueError(f"{function} may not run in the sandbox")
        with self._lock:
            try:
                channel, pid = self._alive()
                watch = Watch(pid, self.folder, self._limits, timeout, should_stop)
                return self._exchange(channel, watch, function, payload, on_progress)
            except SandboxFailed:
                raise
            except SandboxError as error:
                error.tail = error.tail or self.tail
                self._kill()
                raise
            except BaseException as error:
                if not isinstance(error, UserError):
                    self._kill()
                raise

    def close(self) -> None:
        """End the child; the next request would start another."""
        with self._lock:
            self._kill()

    def _alive(self) -> tuple[Channel, int]:
        if self._child is not None and self._child.poll() is not None:
            self._kill()
        if self._child is None or self._channel is None:
            self._child = process.start(self.folder, self._limits, self._readable, self._device)
            self._channel = Channel(self._child)
            self._greet(self._channel)
        return self._channel, self._child.pid

    def _greet(self, channel: Channel) -> None:
        deadline = time.monotonic() + self._limits.start_seconds
        while time.monotonic() < deadline:
            for message in channel.messages(_POLL_SECONDS):
                self.measures = dict(message["measures"])
                return
            if channel.ended:
                raise SandboxCrashed("The sandbox could not start.", channel.tail)
        raise SandboxTimeout("The sandbox took too long to start.", channel.tail)

    def _exchange(
        self, channel: Channel, watch: Watch, function: str, payload: dict[str, Any], on_progress: Progress | None
    ) -> dict[str, Any]:
        number = next(self._numbers)
        request = {"id": number, "function": function, "payload": payload}
        channel.send(json.dumps(request, allow_nan=False).encode())
        while True:
            for message in channel.messages(_POLL_SECONDS):
                answer = _read(message, number, on_progress, channel)
                if answer is not None:
                    return answer
            if channel.ended:
                raise self._death(watch, channel)
            watch.check()

    def _death(self, watch: Watch, channel: Channel) -> FaultlineError:
        assert self._child is not None
        try:
            code = self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return SandboxCrashed("The sandboxed process closed its pipe.", channel.tail)
        if code == -signal.SIGKILL and watch.peak_bytes > self._limits.memory_bytes // 2:
            return SandboxMemory("The machine ran out of memory and the process was killed.", channel.tail)
        if code == -signal.SIGBUS and shutil.disk_usage(self.folder).free < _NEARLY_FULL:
            return StorageFull(NO_SPACE)
        how = f"with exit code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"
        return SandboxCrashed(f"The sandboxed process died {how} in the middle of the work.", channel.tail)

    def _kill(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._child is not None:
            process.kill(self._child)
        self._child = self._channel = None


def _read(
    message: dict[str, Any], number: int, on_progress: Progress | None, channel: Channel
) -> dict[str, Any] | None:
    """Return the result, or None for a message that does not end the request."""
    kind, text = message.get("type"), str(message.get("message", ""))[:4000]
    if message.get("id") != number:
        raise SandboxCrashed("The sandboxed process answered out of turn.", channel.tail)
    if kind == "progress" and isinstance(message.get("progress"), dict):
        if on_progress is not None:
            on_progress(message["progress"])
        return None
    if kind == "user":
        raise UserError(text)
    if kind == "memory":
        raise SandboxMemory(f"It ran out of memory. {text}".strip(), channel.tail)
    if kind == "full":
        raise StorageFull(text)
    if kind == "failed":
        raise SandboxFailed(text, channel.tail)
    if kind == "result" and isinstance(message.get("result"), dict):
        return dict(message["result"])
    raise SandboxCrashed("The sandboxed process answered with something that is no message.", channel.tail)
