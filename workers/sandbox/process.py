"""The parent's side of one child process: start, talk, measure, kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workers.sandbox.limits import Limits

_ROOT = Path(__file__).resolve().parents[2]
_BOOTSTRAP = "import sys; sys.path.insert(0, sys.argv[1]); from workers.sandbox.child import main; main(sys.argv[2])"
_INHERITED = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TZ")
_TICK = os.sysconf("SC_CLK_TCK")
_FIRST_UID, _UIDS = 61_000, 4_000
# A parent-death signal follows the *thread* that forked: threads of a job engine come and go, this one stays.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="sandbox-spawner")


def start(folder: Path, limits: Limits, readable: Sequence[Path], device: str) -> subprocess.Popen[bytes]:
    """Start a child that locks itself down and then says `ready` on its standard output."""
    user = choose_user(folder)
    if user is not None:
        os.chown(folder, user, user)
    wishes = {
        "folder": str(folder),
        "readable": [str(path) for path in readable],
        "bounds": limits.for_child(),
        "user": user,
        "accelerator": device != "cpu",
        "parent": os.getpid(),
    }
    environment = clean_environment(folder, limits)
    return _spawner.submit(_spawn, folder, json.dumps(wishes), environment).result()


def _spawn(folder: Path, wishes: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    child = subprocess.Popen(  # noqa: S603 - our own interpreter with our own arguments
        [sys.executable, "-I", "-B", "-c", _BOOTSTRAP, str(_ROOT), wishes],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=folder,
        env=environment,
        bufsize=0,
        start_new_session=True,
    )
    for stream in (child.stdin, child.stdout, child.stderr):
        assert stream is not None
        os.set_blocking(stream.fileno(), False)
    return child


def choose_user(folder: Path) -> int | None:
    """An unprivileged user id for work in `folder`, where this process may change users; else None."""
    if os.geteuid() != 0:
        return None
    return _FIRST_UID + folder.stat().st_ino % _UIDS


def clean_environment(folder: Path, limits: Limits) -> dict[str, str]:
    """The whole environment of a child."""
    threads = str(limits.compute_threads or os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    home = str(folder)
    environment = {
        "HOME": home,
        "TMPDIR": home,
        "XDG_CACHE_HOME": home,
        "TORCH_HOME": home,
        "USER": "sandbox",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "HF_HUB_OFFLINE": "1",
        "CUDA_MODULE_LOADING": "LAZY",
    }
    return environment | {name: os.environ[name] for name in _INHERITED if name in os.environ}


def kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and everything in its process group, and wait for its end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    # Should there be no such group, the wait below must still end.
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def resident_bytes(pid: int) -> int:
    """Memory that process `pid` holds for itself: anonymous and shared pages, not mapped files."""
    fields = ("RssAnon:", "RssShmem:")
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(fields))


def cpu_seconds(pid: int) -> float:
    """Processor time that process `pid` has used, user and system."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def folder_bytes(folder: Path) -> int:
    """Space that the files under `folder` take on disk; no link is followed."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(root) / name).lstat().st_blocks * 512
    return total


def parse(line: bytes) -> dict[str, Any] | None:
    """One message of the child, or None where it is not a JSON object."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
