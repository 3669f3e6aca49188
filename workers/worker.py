"""One worker process: takes its name, announces itself, runs the engine until told to stop."""

from __future__ import annotations

import fcntl
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import IO

from app.services import keys, queue
from app.settings import get_settings
from app.store.repositories import workers as worker_rows
from app.store.session import transaction
from workers import engine, warm
from workers.device import gpu_count
from workers.maintenance import Maintenance

HEARTBEAT_SECONDS = 15.0
LOCK_SECONDS = 20.0
_LOG = logging.getLogger("workers")


def run_worker(role: str, index: int, executor_id: str = "") -> int:
    """Run one worker until SIGTERM or SIGINT."""
    identity = executor_id or f"{socket.gethostname()}-{role}{index}"
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    queue.prepare()
    with _sole(identity) as lock:
        if not _taken(lock):
            _LOG.error("another worker is %s already", identity)
            return 1
        device = choose_device(role, index)
        warm.settle(identity)
        _announce(identity, role, device)
        engine.launch(role, identity, device)
        if role == "recover":
            # Recovery runs in the background of the launch; what it puts back is queued for others.
            told.wait(3.0)
            _withdraw(identity)
        else:
            if role != "control":
                warm_up()
            _work(identity, role, told)
    _leave()
    return 0


def _work(identity: str, role: str, told: threading.Event) -> None:
    maintenance = Maintenance() if role in {"control", "all"} else None
    while not told.wait(HEARTBEAT_SECONDS):
        try:
            with transaction() as session:
                worker_rows.beat(session, identity)
            if maintenance:
                maintenance.tick()
        except Exception:
            _LOG.exception("heartbeat")
    with transaction() as session:
        worker_rows.leave(session, identity)


def _leave() -> None:
    """End at once: what is under way is taken up by the next worker of this name, and threads do not hold us."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def choose_device(role: str, index: int) -> str:
    """Pin a GPU worker to its device before torch is imported; return cuda or cpu."""
    if role == "gpu" or (role == "all" and gpu_count()):
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[index % len(visible)] if visible else str(index)
        return "cuda"
    if role == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return "cpu"


def warm_up() -> None:
    """Import what the first question would otherwise wait for, beside the start."""
    threading.Thread(target=importlib.import_module, args=("torch",), name="warm-up", daemon=True).start()


def _announce(identity: str, role: str, device: str) -> None:
    values = {"role": role, "host": socket.gethostname(), "process_id": os.getpid(), "device": device}
    values["version"] = keys.library_versions()["faultline"]
    with transaction() as session:
        worker_rows.announce(session, identity, values)


def _withdraw(identity: str) -> None:
    with transaction() as session:
        worker_rows.withdraw(session, identity)


def _sole(identity: str) -> IO[str]:
    folder = get_settings().home / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"{identity}.lock").open("w")


def _taken(lock: IO[str]) -> bool:
    """Take the lock of this executor id; an earlier process of the same name may need a moment to die."""
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False
