"""Sandboxes whose child may also import `guests`, the hostile functions beside this file."""

import shutil
import socket
import sqlite3
from pathlib import Path

import pytest

from workers.sandbox import Limits, Sandbox, process, sandbox

HERE = Path(__file__).parent
BOOTSTRAP = f"""
import sys
sys.path[:0] = [sys.argv[1], {str(HERE)!r}]
from workers.sandbox import child
child.PREFIXES += ("guests",)
# more
child.main(sys.argv[2])
"""


@pytest.fixture(autouse=True)
def guests_allowed(monkeypatch):
    monkeypatch.setattr(process, "_BOOTSTRAP", BOOTSTRAP)
    monkeypatch.setattr(sandbox, "PREFIXES", (*sandbox.PREFIXES, "guests"))


@pytest.fixture(params=["own user", "same user"])
def any_user(request, monkeypatch):
    """Root gives the child another user; the other walls must hold where the worker is no root."""
    if request.param == "same user":
        monkeypatch.setattr(process, "choose_user", lambda folder: None)
    return request.param


@pytest.fixture(params=["mount namespace", "user and mount namespace"])
def without_landlock(request, monkeypatch):
    """The kernel has no Landlock; the second way is that of a worker that is not root."""
    code = "from workers.sandbox import landlock, mounts\nlandlock.abi = lambda: 0\n"
    if request.param.startswith("user"):
        code += "mounts.may_mount = lambda: False\n"
        monkeypatch.setattr(process, "choose_user", lambda folder: None)
    monkeypatch.setattr(process, "_BOOTSTRAP", BOOTSTRAP.replace("# more\n", code))
    return request.param


@pytest.fixture
def make_sandbox(tmp_path):
    made = []

    def make(*, readable=(), **limits):
        values = {"seconds": 30.0, "memory_bytes": 2**29, **limits}
        folder = tmp_path / f"inside{len(made)}"
        made.append(Sandbox(folder, Limits(**values), readable=[HERE, *readable]))
        return made[-1]

    yield make
    for one in made:
        one.close()
        shutil.rmtree(one.folder, ignore_errors=True)


@pytest.fixture
def box(make_sandbox):
    return make_sandbox()


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "store" / "faultline.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("create table secret (value text)")
        connection.execute("insert into secret values ('hash of a password')")
    connection.close()
    path.chmod(0o666)
    path.parent.chmod(0o777)
    return path


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]
