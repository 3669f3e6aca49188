"""Names, devices and heartbeats of worker processes; restarts by the supervisor."""

from __future__ import annotations

import itertools
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from app.settings import Settings
from app.store.models import Worker
from app.store.models.base import utcnow
from app.store.repositories import workers as worker_rows
from app.store.session import reading, transaction
from workers import device, maintenance, supervisor, worker

VALUES = {"role": "cpu", "host": "h", "process_id": 1, "device": "cpu", "version": "1"}


def announced(name: str, age: timedelta = timedelta()) -> None:
    with transaction() as session:
        worker_rows.announce(session, name, VALUES)
        session.get_one(Worker, name).heartbeat_at = utcnow() - age


def test_heartbeats(home: Path) -> None:
    announced("fresh")
    announced("silent", timedelta(minutes=2))
    announced("gone", timedelta(minutes=6))
    with transaction() as session:
        assert [row.executor_id for row in worker_rows.alive(session)] == ["fresh"]
        assert worker_rows.count_alive(session, "cpu") == 1
        assert worker_rows.lost(session) == ["gone"]
        worker_rows.beat(session, "gone")
        assert worker_rows.lost(session) == []
        worker_rows.leave(session, "fresh")
        assert [row.executor_id for row in worker_rows.alive(session)] == ["gone"]
        worker_rows.withdraw(session, "gone")
    with reading() as session:
        assert session.get(Worker, "gone") is None
        assert session.get(Worker, "fresh") is not None


def test_a_lost_worker_is_recovered_by_a_process_of_its_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    announced("gone", timedelta(minutes=6))
    called: list[list[str]] = []
    monkeypatch.setattr(maintenance.subprocess, "run", lambda command, **_: called.append(command))
    assert maintenance.recover_lost() == ["gone"]
    assert called[0][-4:] == ["--role", "recover", "--executor", "gone"]


def test_maintenance_is_done_at_its_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    clock = [0.0]
    monkeypatch.setattr(maintenance.time, "monotonic", lambda: clock[0])
    for name in ("recover_lost", "close_abandoned", "sweep"):
        monkeypatch.setattr(maintenance, name, lambda name=name: done.append(name))
    monkeypatch.setattr(maintenance.queue, "forget", lambda: done.append("forget"))
    duties = maintenance.Maintenance()
    for clock[0] in (10.0, 61.0, 70.0, 3700.0):
        duties.tick()
    assert done == ["recover_lost", "close_abandoned", "recover_lost", "close_abandoned", "sweep", "forget"]


@pytest.mark.parametrize(
    ("visible", "role", "index", "expected"),
    [
        (None, "gpu", 1, ("cuda", "1")),
        ("2,5", "gpu", 1, ("cuda", "5")),
        ("3", "gpu", 0, ("cuda", "3")),
        ("3", "cpu", 0, ("cpu", "")),
        ("3", "control", 0, ("cpu", "3")),
    ],
)
def test_a_worker_sees_its_own_device_only(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, role: str, index: int, expected: tuple[str, str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert worker.choose_device(role, index) == expected[0]
    assert worker.os.environ["CUDA_VISIBLE_DEVICES"] == expected[1]


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("0", 1), ("0, 3", 2)])
def test_devices_are_counted_without_torch(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device.gpu_count() == count


@pytest.mark.parametrize(
    ("stated", "here", "elsewhere", "expected"),
    [
        ("auto", 0, 0, "cpu"),
        ("auto", 1, 0, "cuda"),
        ("auto", 0, 1, "cuda"),
        ("cpu", 2, 1, "cpu"),
        ("cuda:1", 0, 0, "cuda"),
    ],
)
def test_device_class(monkeypatch: pytest.MonkeyPatch, stated: str, here: int, elsewhere: int, expected: str) -> None:
    monkeypatch.setattr(device, "gpu_count", lambda: here)
    assert device.device_class(Settings(device=stated), gpu_workers=elsewhere) == expected


@pytest.mark.parametrize(
    ("gpus", "cpus", "expected"),
    [
        (0, 1, ["control0", "cpu0"]),
        (0, 0, ["control0", "cpu0"]),
        (2, 0, ["control0", "gpu0", "gpu1"]),
        (1, 2, ["control0", "gpu0", "cpu0", "cpu1"]),
    ],
)
def test_posts_of_a_machine(monkeypatch: pytest.MonkeyPatch, gpus: int, cpus: int, expected: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
    found = supervisor.posts(Settings(device="auto", cpu_workers=cpus))
    assert [f"{role}{index}" for role, index in found] == expected


def test_a_worker_that_keeps_dying_is_restarted_at_growing_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, starts = [0.0], []

    class Dead:
        returncode = -signal.SIGKILL

        def poll(self) -> int:
            return self.returncode

    tree = supervisor.Supervisor(Settings(device="cpu"))
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(tree, "_start", lambda post: starts.append(clock[0]) or Dead())
    for clock[0] in [tick / 10 for tick in range(1200)]:
        tree._tend(tree._posts[0])
    pauses = [round(later - earlier, 3) for earlier, later in itertools.pairwise(starts)]
    assert max(pauses[: supervisor.KEEN - 1]) <= 0.3
    assert pauses == sorted(pauses)
    assert 25 < pauses[-1] <= 30.2


def test_children_die_with_their_parent(home: Path) -> None:
    """A process that binds itself to a parent which is gone leaves at once."""
    done = subprocess.run(
        [worker.sys.executable, "-m", "workers.main", "--role", "control", "--parent", "1"], check=False, timeout=60
    )
    assert done.returncode == 1
    with reading() as session:
        assert session.query(Worker).count() == 0
