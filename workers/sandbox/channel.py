"""Lines to and from a child that may be hostile: nothing blocks, nothing grows without bound."""

from __future__ import annotations

import os
import selectors
import subprocess
from typing import Any

from workers.sandbox.errors import SandboxCrashed
from workers.sandbox.process import parse

MAX_LINE = 64 * 2**20
_TAIL = 16 * 2**10
_CHUNK = 2**16
_TAIL_READS = 16


class Channel:
    """The three pipes of one child."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self._requests, self._answers, self._errors = (
            stream.fileno() for stream in (child.stdin, child.stdout, child.stderr)
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)
        self._selector.register(self._errors, selectors.EVENT_READ)
        self._outgoing = b""
        self._incoming: list[bytes] = []
        self._incoming_bytes = 0
        self._tail = b""
        self.ended = False

    @property
    def tail(self) -> str:
        """The last 16 KiB of what the child wrote to its error stream."""
        for _ in range(_TAIL_READS):
            if self._errors not in self._selector.get_map() or not (chunk := self._read(self._errors)):
                break
            self._tail = (self._tail + chunk)[-_TAIL:]
        return self._tail.decode(errors="replace")

    def send(self, line: bytes) -> None:
        """Queue one line; `messages` carries it over."""
        self._outgoing += line + b"\n"
        self._selector.register(self._requests, selectors.EVENT_WRITE)

    def messages(self, seconds: float) -> list[dict[str, Any]]:
        """Move bytes for at most `seconds`, and return the messages that are complete.

        Raises:
            SandboxCrashed: the child wrote something that is not a message.
        """
        lines: list[bytes] = []
        for key, _ in self._selector.select(seconds):
            if key.fd == self._requests:
                self._write()
            elif key.fd == self._errors:
                self._tail = (self._tail + self._read(key.fd))[-_TAIL:]
            else:
                lines += self._take(self._read(key.fd))
                self.ended = key.fd not in self._selector.get_map()
        return self._parsed(lines)

    def close(self) -> None:
        """Forget the pipes (which the caller closes)."""
        self._selector.close()

    def _write(self) -> None:
        try:
            sent = os.write(self._requests, self._outgoing[:_CHUNK])
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._outgoing)
        self._outgoing = self._outgoing[sent:]
        if not self._outgoing:
            self._selector.unregister(self._requests)

    def _read(self, stream: int) -> bytes:
        try:
            chunk = os.read(stream, _CHUNK)
        except BlockingIOError:
            return b""
        if not chunk:
            self._selector.unregister(stream)
        return chunk

    def _take(self, chunk: bytes) -> list[bytes]:
        """Add `chunk` to the line under way; return the lines that it completes."""
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            lines.append(b"".join([*self._incoming, end]))
            self._incoming, self._incoming_bytes = [], 0
        self._incoming.append(rest)
        self._incoming_bytes += len(rest)
        if self._incoming_bytes > MAX_LINE:
            raise SandboxCrashed("The sandboxed process answered with more than 64 MiB.", self.tail)
        return lines

    def _parsed(self, lines: list[bytes]) -> list[dict[str, Any]]:
        messages = [parse(line) for line in lines]
        if any(message is None for message in messages):
            raise SandboxCrashed("The sandboxed process answered with something that is no message.", self.tail)
        return [message for message in messages if message is not None]
