"""What a child takes from itself before it reads the first untrusted byte."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.sandbox import landlock, libc, seccomp

_SYSTEM = ("/usr", "/lib", "/lib64", "/opt/rocm", "/proc", "/sys/devices", "/sys/fs/cgroup", "/sys/class")
_SETTINGS = ("/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/passwd")
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
    measures["network"] = _leave_network()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    measures["user"] = _become(user, keep_reading=landlock.abi() > 0)
    # Changing the user clears the parent-death signal, so this order.
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    _bound(bounds, own_user=user is not None and os.getuid() == user)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    measures["files"] = _restrict_files(folder, readable, accelerator=accelerator)
    measures |= _filter_calls(measures["network"], accelerator=accelerator)
    return measures


def _leave_network() -> str:
    try:
        libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWIPC)
    except OSError:
        return "shared"
    return "own empty network namespace"


def _become(user: int | None, *, keep_reading: bool) -> str:
    """Become `user`; with `keep_reading`, file modes do not bar reading, since Landlock does."""
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


def _restrict_files(folder: Path, readable: Sequence[Path], *, accelerator: bool) -> str:
    code = Path(__file__).resolve().parents[2]
    read: list[str | Path] = [
        *_SYSTEM,
        *_SETTINGS,
        sys.prefix,
        sys.base_prefix,
        code / "app",
        code / "workers",
        *readable,
    ]
    rules = [(Path(path), landlock.READ) for path in read]
    rules += [(Path(path), landlock.DEVICE) for path in _STREAMS]
    rules.append((folder, landlock.WRITE))
    if accelerator:
        rules += [(path, landlock.DEVICE) for path in Path("/dev").glob("nvidia*")]
        rules += [(path, landlock.DEVICE) for path in (Path("/dev/kfd"), Path("/dev/dri"))]
    try:
        return f"Landlock (version {landlock.restrict(rules)})"
    except OSError as error:
        return f"not restricted ({error})"


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
