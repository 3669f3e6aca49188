"""Guests that try to get out."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from workers.sandbox import SandboxCrashed, checked_file, describe_containment, load_array, process, seccomp
from workers.sandbox import landlock as landlock_module

needs_landlock = pytest.mark.skipif(landlock_module.abi() == 0, reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(not seccomp.supported(), reason="no system call filter for this machine")

HERE = Path(__file__).parent
FILES = ["read", "list_beside", "append", "write_beside", "truncate", "delete", "hard_link", "rename_in"]
FILES += ["symlink_then_read", "write_readable", "shared_memory", "parent_environment", "parent_memory", "parent_files"]
CALLS = ["tcp", "udp", "unix_socket", "fork", "run_program", "exec", "kill_parent", "trace_parent", "limit_parent"]
CALLS += ["new_session", "new_namespace", "anonymous_file", "chmod", "touch", "mount"]


@pytest.fixture
def attack(make_sandbox, database, server, tmp_path):
    readable = tmp_path / "checkpoint"
    readable.write_bytes(b"weights")
    readable.chmod(0o666)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "unix"))
    listening.listen()
    sandbox = make_sandbox(readable=[readable])
    payload = {"secret": str(database), "port": server, "readable": str(readable), "unix": str(tmp_path / "unix")}

    def run(name, **more):
        return sandbox.request("guests:attempt", {"attack": name, **payload, **more})

    yield run
    listening.close()


@needs_landlock
def test_files_outside_stay_closed(any_user, attack, database):
    before = database.read_bytes()
    outcomes = {name: attack(name) for name in FILES}
    assert {name for name, outcome in outcomes.items() if not outcome["prevented"]} == set()
    assert database.read_bytes() == before


def mounts_work() -> bool:
    """Whether a process of this user may have a mount namespace, found by trying."""
    return subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], check=False).returncode == 0


needs_mounts = pytest.mark.skipif(
    not mounts_work(), reason="CONTAINMENT WITHOUT LANDLOCK IS NOT TESTED: this machine allows no user namespace"
)


@needs_mounts
def test_files_outside_stay_closed_without_landlock(without_landlock, attack, database):
    before = database.read_bytes()
    outcomes = {name: attack(name) for name in FILES}
    assert {name for name, outcome in outcomes.items() if not outcome["prevented"]} == set()
    assert database.read_bytes() == before


@needs_mounts
def test_without_landlock_the_child_says_what_holds_it(without_landlock, make_sandbox, tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "weights").chmod(0o600)
    box = make_sandbox(readable=[tmp_path / "weights"])
    seen = box.request("guests:look_around", {"readable": str(tmp_path / "weights")})
    assert seen["content"] == "weights"
    assert set(seen["root"]) <= {
        "usr",
        "lib",
        "lib64",
        "proc",
        "sys",
        "dev",
        "etc",
        *Path(sys.prefix).parts[1:2],
        *Path(sys.base_prefix).parts[1:2],
        *HERE.parts[1:2],
        *tmp_path.parts[1:2],
    }
    assert seen["beside"] == sorted([box.folder.name, "weights"])
    assert box.measures["files"].startswith(f"own {without_landlock} with a root of its own")
    assert "own empty network namespace" in box.measures["network"]
    assert (box.folder / "made").read_text() == "here"
    assert not (box.folder / ".root").exists()


@needs_mounts
def test_a_real_network_runs_without_landlock(without_landlock, make_sandbox):
    assert make_sandbox(memory_bytes=2**31).request("guests:run_torch", {})["sum"] == 6.0


def test_where_nothing_holds_that_is_said(make_sandbox, monkeypatch):
    nothing = "from workers.sandbox import landlock, mounts\nlandlock.abi = lambda: 0\n"
    nothing += "def no(*a): raise OSError(1, 'Operation not permitted')\nmounts.enclose = no\n"
    monkeypatch.setattr(process, "_BOOTSTRAP", process._BOOTSTRAP.replace("# more\n", nothing))
    monkeypatch.setattr(process, "choose_user", lambda folder: None)
    box = make_sandbox()
    box.request("guests:echo", {})
    assert box.measures["files"].startswith("not restricted (no Landlock; no mount namespace either")


@needs_seccomp
def test_calls_are_denied(any_user, attack, database):
    mode, changed = database.stat().st_mode, database.stat().st_mtime
    outcomes = {name: attack(name) for name in CALLS}
    assert {name for name, outcome in outcomes.items() if not outcome["prevented"]} == set()
    assert (database.stat().st_mode, database.stat().st_mtime) == (mode, changed)


def test_the_same_attacks_succeed_outside(database, server, tmp_path, monkeypatch):
    """The attacks are real: without walls they work."""
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import guests
    finally:
        sys.path.pop(0)
    payload = {"secret": str(database), "port": server}
    harmless = ["read", "list_beside", "append", "write_beside", "chmod", "touch", "symlink_then_read", "tcp", "udp"]
    for name in [*harmless, "anonymous_file", "run_program"]:
        assert guests.attempt({"attack": name, **payload}, print)["prevented"] is False, name


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="a system call by number")
def test_a_thread_of_the_parent_cannot_be_signalled(attack):
    assert attack("stop_parent_thread")["prevented"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_the_child_is_somebody_else_and_cannot_come_back(box, database):
    identity = box.request("guests:identity", {})
    assert identity["uid"] not in (0, os.getuid())
    assert box.request("guests:attempt", {"attack": "become_root", "secret": str(database)})["prevented"]


def test_limits_cannot_be_raised(attack):
    assert attack("raise_own_limit")["prevented"]


def test_a_private_key_file_can_be_made_readable_to_one_sandbox_only(make_sandbox, tmp_path):
    """Blobs belong to the worker and carry mode 0600: naming one in `readable` is enough, the others stay shut."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    for path in (mine, other):
        path.write_bytes(b"weights")
        path.chmod(0o600)
    sandbox = make_sandbox(readable=[mine])
    reads = {
        path.name: not sandbox.request("guests:attempt", {"attack": "read", "secret": str(path)})["prevented"]
        for path in (mine, other)
    }
    assert reads == {"mine": True, "other": False}


def test_no_secret_of_the_environment_is_inherited(make_sandbox, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "AKIA-hidden")
    monkeypatch.setenv("FAULTLINE_DATABASE_URL", "postgresql://user:password@host/db")
    identity = make_sandbox().request("guests:identity", {})
    assert "AKIA" not in str(identity["environment"])
    assert "password" not in str(identity["environment"])


def test_works_in_its_own_folder_and_process_group(box):
    identity = box.request("guests:identity", {})
    assert identity["cwd"] == str(box.folder)
    assert identity["group"] == identity["pid"] != os.getpgrp()


def test_a_file_over_the_limit_is_refused(make_sandbox):
    sandbox = make_sandbox(file_bytes=2**20)
    assert sandbox.request("guests:attempt", {"attack": "big_file", "bytes": 2**21})["prevented"]
    assert not sandbox.request("guests:attempt", {"attack": "big_file", "bytes": 2**19})["prevented"]


def test_open_files_are_bounded(make_sandbox):
    sandbox = make_sandbox(open_files=64)
    assert sandbox.request("guests:attempt", {"attack": "many_files", "files": 100})["prevented"]


@pytest.mark.skipif(os.geteuid() != 0, reason="bounded per user, and only root changes users")
def test_a_thread_bomb_stops_at_the_limit(make_sandbox):
    sandbox = make_sandbox(threads=40)
    assert sandbox.request("guests:attempt", {"attack": "thread_bomb", "threads": 100})["prevented"]


def test_names_outside_the_allow_list_do_not_run(box):
    for function in ("os:system", "subprocess:run", "workers.engine:start", "app.loaders_evil:run"):
        with pytest.raises(ValueError, match="may not run"):
            box.request(function, {})
    with pytest.raises(SandboxCrashed, match="may not run"):
        box.request("guests:_read", {})


def test_outputs_are_plain_files_of_the_folder(box, database):
    made = box.request("guests:leave_links", {"secret": str(database)})
    assert made == {"soft": False, "hard": False}
    assert checked_file(box.folder, "plain").read_bytes() == b"fine"
    (box.folder / "soft").symlink_to(database)
    (box.folder / "hard").hardlink_to(database)
    (box.folder / "up").symlink_to(database.parent, target_is_directory=True)
    for name in ("soft", "hard", "up/faultline.db", "../store/faultline.db", "missing", "."):
        with pytest.raises(SandboxCrashed):
            checked_file(box.folder, name)


def test_arrays_are_checked(tmp_path):
    import numpy as np

    np.save(tmp_path / "good.npy", np.zeros((3, 2), np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert load_array(tmp_path, "good.npy", (None, 2), "float32").shape == (3, 2)
    for name, shape, dtype in (
        ("good.npy", (None, 3), "float32"),
        ("good.npy", (None, 2), "float64"),
        ("good.npy", (6,), "float32"),
        ("objects.npy", (1,), "object"),
        ("bad.npy", (1,), "float32"),
    ):
        with pytest.raises(SandboxCrashed):
            load_array(tmp_path, name, shape, dtype)


def test_the_description_is_found_by_trying():
    described = describe_containment()
    assert set(described["held"]) == {"files", "network", "processes", "environment"}
    assert described["held"]["environment"] is True
    if landlock_module.abi() and seccomp.supported():
        assert described["complete"] is True
        assert "Landlock" in described["measures"]["files"]
    assert "FAULTLINE_PROBE" not in os.environ
