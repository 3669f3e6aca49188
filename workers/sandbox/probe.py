"""What the child can still reach, found out by trying; runs inside the sandbox."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attempt(payload: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Try to read `payload["secret"]`, open a socket, start a process and see a foreign environment.

    Returns one entry per attempt: True where it was prevented.
    """
    return {
        "files": not _works(lambda: Path(payload["secret"]).read_bytes()),
        "network": not _works(lambda: _connect(payload["port"])),
        "processes": not _works(_fork),
        "environment": "FAULTLINE_PROBE" not in os.environ,
    }


def _works(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


def _connect(port: int) -> None:
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=2)):
        pass


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
