"""Landlock: a process gives up access to all files but those that it names (Linux 5.13 and later)."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from workers.sandbox.libc import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FILE_BITS = _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
READ = _READ_FILE | _READ_DIR
# No symbolic links, sockets, pipes or devices may be made: the parent reads this folder afterwards.
WRITE = READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
DEVICE = READ | _WRITE_FILE | _IOCTL_DEV
# Bits of handled file accesses by ABI version, 1 first: each version knows those before it.
_FILE_ACCESS_BITS = (13, 14, 15, 15, 16)


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock version; 0 where it has none."""
    try:
        return syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except OSError:
        return 0


def restrict(rules: Iterable[tuple[Path, int]]) -> int:
    """Allow the accesses in `rules` and no other file, TCP port, abstract socket or signal; return the ABI.

    Paths that do not exist are passed over. Needs `PR_SET_NO_NEW_PRIVS`; binds this thread and all that it
    starts later.

    Raises:
        OSError: Landlock is absent or switched off.
    """
    version = abi()
    if version == 0:
        raise OSError("Landlock is not available")
    handled = (1 << _FILE_ACCESS_BITS[min(version, len(_FILE_ACCESS_BITS)) - 1]) - 1
    ruleset = _Ruleset(handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset_fd = syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path, access in rules:
        _allow(ruleset_fd, path, access & handled)
    syscall(_RESTRICT_SELF, ctypes.c_int(ruleset_fd), ctypes.c_uint32(0))
    os.close(ruleset_fd)
    return version


def _allow(ruleset_fd: int, path: Path, access: int) -> None:
    try:
        path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(path_fd).st_mode):
            access &= _FILE_BITS
        rule = _PathBeneath(access, path_fd)
        arguments = (ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
        syscall(_ADD_RULE, ctypes.c_int(ruleset_fd), *arguments)
    finally:
        os.close(path_fd)
