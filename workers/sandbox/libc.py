"""System calls that Python has no function for, by ctypes."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_MNT_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def prctl(option: int, value: int = 0, pointer: ctypes.c_void_p | None = None) -> None:
    """Call prctl(2).

    Raises:
        OSError: the kernel refused.
    """
    result = _LIBC.prctl(option, ctypes.c_ulong(value), pointer or ctypes.c_ulong(0), 0, 0)
    if result != 0:
        _raise("prctl")


def syscall(number: int, *arguments: object) -> int:
    """Call a system call by number.

    Raises:
        OSError: the kernel refused.
    """
    result = int(_LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        _raise(f"syscall {number}")
    return result


def unshare(flags: int) -> None:
    """Move this process to new namespaces.

    Raises:
        OSError: the kernel refused.
    """
    if _LIBC.unshare(ctypes.c_int(flags)) != 0:
        _raise("unshare")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Call mount(2).

    Raises:
        OSError: the kernel refused.
    """
    kinds, told = kind.encode() or None, options.encode() or None
    if _LIBC.mount(source.encode(), os.fsencode(target), kinds, ctypes.c_ulong(flags), told) != 0:
        _raise(f"mount {target}")


def detach(path: str) -> None:
    """Call umount2(2), lazily.

    Raises:
        OSError: the kernel refused.
    """
    if _LIBC.umount2(path.encode(), ctypes.c_int(_MNT_DETACH)) != 0:
        _raise("umount2")


def pivot_root(new: str, old: str) -> None:
    """Call pivot_root(2).

    Raises:
        OSError: the kernel refused, or its number on this machine is not known here.
    """
    if platform.machine() not in _PIVOT_ROOT:
        raise OSError(errno.ENOSYS, "pivot_root")
    syscall(_PIVOT_ROOT[platform.machine()], new.encode(), old.encode())


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityWord(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def keep_capabilities(*kept: int) -> None:
    """Drop every capability but `kept` (numbers below 32).

    Raises:
        OSError: the kernel refused.
    """
    mask = sum(1 << capability for capability in kept)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    words = (_CapabilityWord * 2)(_CapabilityWord(mask, mask, 0), _CapabilityWord(0, 0, 0))
    if _LIBC.capset(ctypes.byref(header), ctypes.byref(words)) != 0:
        _raise("capset")


def _raise(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
