"""A seccomp filter: the system calls by which a child could reach other processes or the network."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from workers.sandbox.libc import PR_SET_SECCOMP, prctl

_FILTER_MODE = 2
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_CLONE_THREAD = 0x00010000
_X32_BIT = 0x40000000

# Per machine: (audit architecture, denied numbers, clone, tgkill, prlimit64).
# Denied, in order: socket; ptrace and reading another's memory; new sessions, groups and namespaces; mounts
# and file handles; kernel facilities (bpf, keys, userfaultfd, perf, memory that belongs to no process);
# programs; signals; modes, owners and times of files.
_X86 = (
    *(41, 101, 310, 311, 112, 109, 272, 308, 165, 166, 155, 161, 304, 303, 321, 250, 248, 249, 323, 298),
    *(29, 68, 64, 240, 59, 322, 57, 58, 62, 200, 129, 297),
    *(90, 91, 268, 92, 93, 94, 260, 188, 189, 190, 197, 198, 199, 132, 235, 261, 280),
)
_ARM = (
    *(198, 117, 270, 271, 157, 154, 97, 268, 40, 39, 41, 51, 265, 264, 280, 219, 217, 218, 282, 241),
    *(194, 186, 190, 180, 221, 281, 129, 130, 138, 240),
    *(52, 53, 55, 54, 5, 6, 7, 14, 15, 16, 88),
)
# io_uring, pidfd, the new mount calls, fchmodat2, setxattrat: one number on every machine.
_COMMON = (424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 438, 440, 442, 452, 463)
_CLONE3 = 435
_MACHINES = {
    "x86_64": (0xC000003E, _X86 + _COMMON, 56, 234, 302, 319),
    "aarch64": (0xC00000B7, _ARM + _COMMON, 220, 131, 261, 279),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def supported() -> bool:
    """Whether the filter is written for this machine."""
    return platform.machine() in _MACHINES


def restrict(*, anonymous_files: bool) -> None:
    """Deny, with EPERM, every call above, and any clone that is not a thread.

    `anonymous_files` leaves memfd_create, which CUDA drivers use. Needs `PR_SET_NO_NEW_PRIVS`.

    Raises:
        OSError: no filter for this machine, or the kernel refused.
    """
    if not supported():
        raise OSError(f"no system call filter for {platform.machine()}")
    code = b"".join(_instructions(anonymous_files=anonymous_files))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    prctl(PR_SET_SECCOMP, _FILTER_MODE, ctypes.cast(ctypes.byref(program), ctypes.c_void_p))


def _instructions(*, anonymous_files: bool) -> list[bytes]:
    architecture, denied, clone, tgkill, prlimit, memfd = _MACHINES[platform.machine()]
    deny = _instruction(_RETURN, _ERRNO | errno.EPERM)
    code = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_JUMP_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER_AT),
        _instruction(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1),
        deny,
        # glibc falls back to clone, whose flags a filter can read.
        _instruction(_JUMP_EQUAL, _CLONE3, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for number in denied if anonymous_files else (*denied, memfd):
        code += [_instruction(_JUMP_EQUAL, number, 0, 1), deny]
    code += _only_argument(clone, _JUMP_ANY_BIT, (_CLONE_THREAD,))
    code += _only_argument(tgkill, _JUMP_EQUAL, (os.getpid(),))
    code += _only_argument(prlimit, _JUMP_EQUAL, (0, os.getpid()))
    return [*code, _instruction(_RETURN, _ALLOW)]


def _only_argument(number: int, test: int, values: tuple[int, ...]) -> list[bytes]:
    """Let call `number` pass only where its first argument passes `test` against one of `values`."""
    body = [_instruction(_LOAD, _FIRST_ARGUMENT_AT)]
    for value in values:
        body += [_instruction(test, value, 0, 1), _instruction(_RETURN, _ALLOW)]
    body.append(_instruction(_RETURN, _ERRNO | errno.EPERM))
    return [_instruction(_JUMP_EQUAL, number, 0, len(body)), *body]


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, operand)
