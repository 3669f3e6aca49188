"""What a child takes from itself before it reads the first untrusted byte."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.sandbox import landlock, libc, mounts, seccomp

_SYSTEM = ("/usr", "/lib", "/lib64", "/opt/rocm", "/proc", "/sys/devices", "/sys/fs/cgroup", "/sys/class")
_SETTINGS = ("/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/passwd")
_OPEN = "not restricted"
_STREAMS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def lock_down(
    folder: Path,
    readable: Sequence[Path],
    bounds: Mapping[str, int],
    user: int | None,
    *,
    accelerator: bool,
) -> dict[str, str]:
    """Give up all that the work does not need; return the measures in force, in words.

    `user` is the numeric id to become (None: stay). Must run while the process has one thread.
    """
    measures = {"environment": "clean: nothing of the worker's environment is inherited"}
    files = _needed(readable), _devices(accelerator=accelerator)
    # A root of its own comes first: in a user namespace it also gives the right to an empty network.
    enclosed = "" if landlock.abi() > 0 else _enclose(folder, *files)
    measures["network"] = _leave_network()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    measures["user"] = _become(user, keep_reading=not enclosed.startswith(_OPEN))
    # Changing the user clears the parent-death signal, so this order.
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    _bound(bounds, own_user=user is not None and os.getuid() == user)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    measures["files"] = enclosed or _restrict_files(folder, *files)
    measures |= _filter_calls(measures["network"], accelerator=accelerator)
    return measures


def _leave_network() -> str:
    try:
        libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWIPC)
    except OSError:
        return "shared"
    return "own empty network namespace"


def _become(user: int | None, *, keep_reading: bool) -> str:
    """Become `user`; with `keep_reading`, file modes do not bar reading, since other walls do."""
    if user is None:
        libc.keep_capabilities()
        return f"same user as the worker (uid {os.getuid()})"
    try:
        libc.prctl(libc.PR_SET_KEEPCAPS, 1 if keep_reading else 0)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError as error:
        libc.keep_capabilities()
        return f"same user as the worker, without capabilities ({error.strerror})"
    libc.keep_capabilities(*((libc.CAP_DAC_READ_SEARCH,) if keep_reading else ()))
    return f"own user (uid {user})"


def _bound(bounds: Mapping[str, int], *, own_user: bool) -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: bounds["file_bytes"],
        resource.RLIMIT_NOFILE: bounds["open_files"],
    }
    if own_user:
        wanted[resource.RLIMIT_NPROC] = bounds["threads"]
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _needed(readable: Sequence[Path]) -> list[Path]:
    """What the child may read."""
    code = Path(__file__).resolve().parents[2]
    system = [Path(path) for path in (*_SYSTEM, *_SETTINGS, sys.prefix, sys.base_prefix)]
    return [*system, code / "app", code / "workers", *readable]


def _devices(*, accelerator: bool) -> list[Path]:
    """What the child may read, write and control."""
    found = [Path(path) for path in _STREAMS]
    if accelerator:
        found += [*Path("/dev").glob("nvidia*"), Path("/dev/kfd"), Path("/dev/dri")]
    return found


def _enclose(folder: Path, readable: Sequence[Path], devices: Sequence[Path]) -> str:
    try:
        return mounts.enclose(folder, readable, devices)
    except OSError as error:
        return f"{_OPEN} (no Landlock; no mount namespace either: {error})"


def _restrict_files(folder: Path, readable: Sequence[Path], devices: Sequence[Path]) -> str:
    rules = [(path, landlock.READ) for path in readable]
    rules += [(path, landlock.DEVICE) for path in devices]
    rules.append((folder, landlock.WRITE))
    try:
        return f"Landlock (version {landlock.restrict(rules)})"
    except OSError as error:
        return f"{_OPEN} ({error})"


def _filter_calls(network: str, *, accelerator: bool) -> dict[str, str]:
    try:
        seccomp.restrict(anonymous_files=accelerator)
    except OSError as error:
        return {"processes": f"bounded by number only ({error})", "calls": "not filtered"}
    return {
        "network": "system calls denied" if network == "shared" else f"{network}, system calls denied",
        "processes": "threads only; no new process, no program",
        "calls": "filtered (seccomp)",
    }
