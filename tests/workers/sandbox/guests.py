"""What hostile, broken and honest guests do inside the sandbox; imported by the child alone."""

import ctypes
import mmap
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from app.errors import UserError

_memory = []


def echo(payload, progress):
    return {"payload": payload, "pid": os.getpid()}


def count(payload, progress):
    for done in range(payload["total"]):
        progress({"done": done + 1})
    return {}


def remember(payload, progress):
    _memory.append(payload["value"])
    return {"values": list(_memory)}


def identity(payload, progress):
    return {
        "uid": os.getuid(),
        "environment": dict(os.environ),
        "cwd": str(Path.cwd()),
        "group": os.getpgrp(),
        "pid": os.getpid(),
    }


def chat(payload, progress):
    print("to standard output")
    sys.stderr.write("to standard error\n")
    os.write(1, b"raw to 1\n")
    return {"stdin": sys.stdin.read()}


def user_error(payload, progress):
    raise UserError("The file is a pickle. Convert it.")


def value_error(payload, progress):
    raise ValueError("no such thing")


def not_json(payload, progress):
    return {"value": float("nan")}


def not_a_dict(payload, progress):
    return ["list"]


def attempt(payload, progress):
    """Run one attack; say how the kernel answered."""
    try:
        result = _ATTACKS[payload["attack"]](payload)
    except (OSError, RuntimeError, ValueError) as error:
        return {"prevented": True, "how": f"{type(error).__name__}: {error}"}
    return {"prevented": False, "how": repr(result)[:200]}


def _read(payload):
    return Path(payload["secret"]).read_bytes()


def _list_beside(payload):
    return list(Path(payload["secret"]).parent.iterdir())


def _append(payload):
    with Path(payload["secret"]).open("ab") as file:
        file.write(b"x")


def _write_beside(payload):
    (Path(payload["secret"]).parent / "new").write_bytes(b"x")


def _truncate(payload):
    os.truncate(payload["secret"], 0)


def _delete(payload):
    Path(payload["secret"]).unlink()


def _chmod(payload):
    Path(payload["secret"]).chmod(0o777)


def _touch(payload):
    os.utime(payload["secret"], (0, 0))


def _symlink_then_read(payload):
    Path("link").symlink_to(payload["secret"])
    return Path("link").read_bytes()


def _hard_link(payload):
    os.link(payload["secret"], "hard")


def _rename_in(payload):
    Path(payload["secret"]).rename("taken")


def _write_readable(payload):
    Path(payload["readable"]).write_bytes(b"x")


def _tcp(payload):
    with socket.create_connection(("127.0.0.1", payload["port"]), timeout=2):
        return "connected"


def _udp(payload):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        return link.sendto(b"x", ("127.0.0.1", payload["port"]))


def _unix_socket(payload):
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(payload["unix"])


def _fork(payload):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def _run_program(payload):
    return subprocess.run(["/bin/true"], check=False).returncode


def _exec(payload):
    os.execv("/bin/true", ["true"])


def _kill_parent(payload):
    os.kill(os.getppid(), 0)
    os.kill(os.getppid(), signal.SIGTERM)


def _stop_parent_thread(payload):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(234, os.getppid(), os.getppid(), 0) != 0:
        raise OSError(ctypes.get_errno(), "tgkill")


def _parent_environment(payload):
    if not (environment := Path(f"/proc/{os.getppid()}/environ").read_bytes()):
        raise OSError("nothing to be seen")
    return environment


def _parent_memory(payload):
    return Path(f"/proc/{os.getppid()}/mem").open("rb").read(1)


def _parent_files(payload):
    return Path(f"/proc/{os.getppid()}/root/etc/hostname").read_bytes()


def _trace_parent(payload):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, os.getppid(), None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _limit_parent(payload):
    return resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))


def _raise_own_limit(payload):
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _new_session(payload):
    os.setsid()


def _new_namespace(payload):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _become_root(payload):
    os.setuid(0)
    return Path(payload["secret"]).read_bytes()


def _anonymous_file(payload):
    return os.memfd_create("hidden")


def _shared_memory(payload):
    return Path("/dev/shm/faultline-test").write_bytes(b"x")


def _big_file(payload):
    with Path("big").open("wb") as file:
        file.truncate(payload["bytes"])


def _many_files(payload):
    return [Path("/dev/null").open() for _ in range(payload["files"])]


def _thread_bomb(payload):
    stop = threading.Event()
    threads = []
    try:
        for _ in range(payload["threads"]):
            threads.append(threading.Thread(target=stop.wait))
            threads[-1].start()
        return len(threads)
    finally:
        stop.set()


def _mount(payload):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"/", b"/tmp", None, 4096, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


_ATTACKS = {
    name.removeprefix("_"): function
    for name, function in list(globals().items())
    if name.startswith("_") and callable(function)
}


def loop(payload, progress):
    while True:
        pass


def loop_in_c(payload, progress):
    """Never gives the interpreter lock back."""
    re.match(r"(a+)+$", "a" * 64 + "b")
    return {}


def sleep(payload, progress):
    progress({"began": True})
    time.sleep(payload["seconds"])
    return {}


def eat_memory(payload, progress):
    held = []
    for _ in range(payload["megabytes"]):
        block = mmap.mmap(-1, 2**20)
        for page in range(0, 2**20, 4096):
            block[page] = 1
        held.append(block)
        time.sleep(0.001)
    return {"held": len(held)}


def fill_folder(payload, progress):
    for number in range(1000):
        Path(f"part{number}").write_bytes(b"x" * 2**20)
        time.sleep(0.01)
    return {}


def exit_quietly(payload, progress):
    os._exit(0)


def crash(payload, progress):
    ctypes.string_at(0)


def abort(payload, progress):
    os.abort()


def talk_nonsense(payload, progress):
    _to_every_pipe(b"this is no message\n")
    return {}


def forge(payload, progress):
    _to_every_pipe(b'{"id": 999, "type": "result", "result": {"forged": true}}\n')
    return {}


def flood(payload, progress):
    while True:
        _to_every_pipe(b"x" * 2**16)


def _to_every_pipe(data):
    for number in range(3, 64):
        try:
            os.write(number, data)
        except OSError:
            continue


def leave_links(payload, progress):
    made = {}
    for name, make in {"soft": Path.symlink_to, "hard": Path.hardlink_to}.items():
        try:
            make(Path(name), payload["secret"])
            made[name] = True
        except OSError:
            made[name] = False
    Path("plain").write_bytes(b"fine")
    return made


def free_space(payload, progress):
    return {"free": shutil.disk_usage(".").free}


def fill_disk(payload, progress):
    """Write until the file system is full, in one of the ways in which libraries write."""
    name, size = payload["how"], 64 * 2**20
    if name == "array":
        import numpy as np

        np.save("array.npy", np.zeros(size // 8))
    elif name == "table":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"a": pa.array(range(size // 8))}), "table.parquet")
    elif name == "mapped":
        with open("mapped", "w+b") as target:  # noqa: PTH123
            target.truncate(size)
            with mmap.mmap(target.fileno(), size) as mapped:
                for place in range(0, size, 4096):
                    mapped[place] = 1
    elif name == "reserved":
        from app.store.durable import new_array

        new_array(Path("reserved.npy"), (size // 4, 1))
    else:
        with open("plain", "wb") as target:  # noqa: PTH123
            target.write(b"x" * size)
    return {}


def look_around(payload, progress):
    Path("made").write_text("here")
    readable = Path(payload["readable"])
    beside = sorted(path.name for path in readable.parent.iterdir())
    return {"root": [path.name for path in Path("/").iterdir()], "content": readable.read_text(), "beside": beside}


def run_torch(payload, progress):
    import torch

    return {"sum": float(torch.nn.Linear(3, 1, bias=False).requires_grad_(False).weight.fill_(2.0).sum())}
