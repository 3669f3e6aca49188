"""A throw-away PostgreSQL server: found on this machine, run by an unprivileged user, gone with the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class Server:
    """A running server on the loopback interface."""

    bin: Path
    port: int

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://tester@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        command = [str(self.bin / "createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", name]
        subprocess.run(command, check=True, capture_output=True)
        return self.url(name)


def binaries() -> Path | None:
    """The folder that holds initdb and postgres, newest version first."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    folders += [Path(on_path).resolve().parent] if on_path else []
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@contextmanager
def running() -> Iterator[Server]:
    """Start a server for the length of the block; skip the test, with the reason, where none can be."""
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL on this machine: install the package postgresql to run this test")
    place = Path(tempfile.mkdtemp(prefix="faultline-pg-"))
    user = _user()
    if user is not None:
        os.chown(place, user.pw_uid, user.pw_gid)
    try:
        _call(user, folder / "initdb", "-D", place / "data", "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        port = _free_port()
        process = _spawn(user, folder / "postgres", "-D", place / "data", "-p", port, "-k", place, "-h", "127.0.0.1",
                         "-F", "-c", "max_connections=200", log=place / "log")  # fmt: skip
        try:
            _await_ready(folder, port, process, place / "log")
            yield Server(folder, port)
        finally:
            # The fast shutdown: SIGTERM would wait until every client has gone.
            process.send_signal(signal.SIGINT)
            process.wait(20)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _user() -> pwd.struct_passwd | None:
    """Whom to become: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it")


def _call(user: pwd.struct_passwd | None, *command: object) -> None:
    words = [str(part) for part in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, **_as(user))
    if done.returncode:
        pytest.skip(f"PostgreSQL could not be set up: {done.stderr[-500:]}")


def _spawn(user: pwd.struct_passwd | None, *command: object, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, **_as(user))


def _as(user: pwd.struct_passwd | None) -> dict[str, object]:
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/tmp"}
    if user is None:
        return {"env": environment, "cwd": "/"}
    return {"env": environment, "cwd": "/", "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _await_ready(folder: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    command = [str(folder / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(command, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"PostgreSQL did not start: {log.read_text()[-500:]}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
