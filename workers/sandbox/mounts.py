"""A root of its own for the child, where the kernel has no Landlock: read-only views of what it needs, nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from workers.sandbox import libc

_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS = 1, 2, 4, 8
_REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 32, 4096, 16_384, 1 << 18
_SAME_BITS = _NO_SUID | _NO_DEVICES | _NO_PROGRAMS | 1024 | 2048 | (1 << 21)
"""Flags that statvfs(3) and mount(2) number alike, access times included; a user namespace must keep them."""
_ROOT = ".root"


def enclose(folder: Path, readable: Iterable[Path], devices: Iterable[Path]) -> str:
    """Replace this process's root by an empty one that shows `readable` (read-only), `devices` and `folder` in their
    places; return the measure in words.

    Must run while the process has one thread. Leaves capabilities to be dropped by the caller.

    Raises:
        OSError: the kernel does not let this process; it may have a mount namespace of its own then, and is not
            contained.
    """
    owner = _leave_mounts()
    libc.mount("none", Path("/"), flags=_RECURSIVE | _PRIVATE)
    root = folder / _ROOT
    root.mkdir()
    libc.mount("tmpfs", root, "tmpfs", _NO_SUID | _NO_DEVICES, "size=4m,mode=0755")
    for path in sorted({path for path in readable if path.exists()}, key=lambda path: len(path.parts)):
        _show(root, path)
    for path in devices:
        if path.exists():
            _place(root, path, _BIND | _RECURSIVE)
    _place(root, folder, _BIND)
    libc.mount("tmpfs", root, flags=_REMOUNT | _BIND | _READ_ONLY | _NO_SUID | _NO_DEVICES)
    _enter(root, folder)
    return f"own {owner} with a root of its own: read-only views of what it needs"


def _leave_mounts() -> str:
    """Move to a mount namespace of our own; a worker that is not root needs a user namespace around it."""
    if may_mount():
        libc.unshare(libc.CLONE_NEWNS)
        return "mount namespace"
    user, group = os.getuid(), os.getgid()
    libc.unshare(libc.CLONE_NEWUSER | libc.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return "user and mount namespace"


def may_mount() -> bool:
    """Whether this process may have mounts of its own without a user namespace."""
    return os.geteuid() == 0


def _show(root: Path, path: Path) -> None:
    """Show a file or folder read-only, unless a folder above it is shown already."""
    target = _under(root, path)
    if path.is_symlink() and path.parent == Path("/"):
        target.symlink_to(path.readlink())
    elif not target.exists():
        _place(root, path, _BIND | _RECURSIVE)
        flags = os.statvfs(path).f_flag & _SAME_BITS
        libc.mount("none", target, flags=_REMOUNT | _BIND | _READ_ONLY | _NO_SUID | flags)


def _place(root: Path, path: Path, flags: int) -> None:
    target = _under(root, path)
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    libc.mount(str(path), target, flags=flags)


def _under(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _enter(root: Path, folder: Path) -> None:
    os.chdir(root)
    # The old root lies on top of the new one for a moment, and is let go.
    libc.pivot_root(".", ".")
    libc.detach(".")
    os.chdir(folder)
    with contextlib.suppress(OSError):
        (folder / _ROOT).rmdir()
