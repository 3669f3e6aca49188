"""An installation with a real supervisor and real workers, which tests may kill."""

from __future__ import annotations

import collections
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from app.services import queue
from app.store.artifacts import artifact_key
from app.store.models import AuditRun, Checkpoint, Dataset, DatasetSplit, Model, ModelVersion, Project, Stage, Worker
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.session import reading, transaction
from tests.workers.home import fresh_home

SHARD_ROWS = 10
SHARDS = 8
_numbers = itertools.count()


@dataclass
class Installation:
    """A home, a database, and the tree of processes that serves them."""

    home: Path
    tree: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start a supervisor; it and its workers are one process group."""
        command = [sys.executable, "-m", "tests.acceptance.worker"]
        with (self.home / "workers.log").open("ab") as log:
            self.tree = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one worker without a supervisor."""
        command = [sys.executable, "-m", "tests.acceptance.worker", *arguments]
        with (self.home / "workers.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9 of all processes at once."""
        assert self.tree is not None
        os.killpg(self.tree.pid, signal.SIGKILL)
        self.tree.wait()

    def stop(self) -> int:
        """Ask the supervisor to end; return its exit status."""
        assert self.tree is not None
        self.tree.terminate()
        return self.tree.wait(20)

    def knobs(self, seconds: float = 0.1, poison: tuple[int, ...] = ()) -> None:
        """Set how long a shard takes, and which shards kill their worker."""
        (self.home / "knobs.json").write_text(json.dumps({"seconds": seconds, "poison": poison}))

    def new_run(self, version_id: int | None = None) -> AuditRun:
        """Queue a run, of a new model unless one is given."""
        with transaction() as session:
            dataset = session.get_one(Dataset, 1)
            run = AuditRun(
                project_id=1, name="r", model_version_id=version_id or _version(session), dataset_id=dataset.id,
                split="val", kinds=["trivial"], encoder="none", seed=0,
            )  # fmt: skip
            session.add(run)
            session.flush()
            queue.enqueue(session, "audit_run", run.id)
        return run

    def run(self, run_id: int) -> AuditRun:
        """The run as it stands."""
        with reading() as session:
            return session.get_one(AuditRun, run_id)

    def stages(self, run_id: int) -> dict[str, Stage]:
        """The run's stages by name."""
        with reading() as session:
            return {stage.name: stage for stage in jobs.stages(session, "run", run_id)}

    def wait(self, run_id: int, *statuses: str, seconds: float = 60) -> AuditRun:
        """Wait until the run has one of the statuses."""
        await_that(lambda: self.run(run_id).status in statuses, seconds, lambda: self.complaint(run_id))
        return self.run(run_id)

    def wait_written(self, run_id: int, shards: int) -> None:
        """Wait until so many shards of the run are written."""

        def enough() -> bool:
            return self.written(run_id).total() >= shards or self.run(run_id).status == "failed"

        await_that(enough, 60, lambda: self.complaint(run_id))
        assert self.run(run_id).error == ""

    def written(self, run_id: int, what: str = "wrote") -> collections.Counter[int]:
        """How often each shard was written, by its first row."""
        path = self.home / "notes.txt"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return collections.Counter(int(start) for word, run, start in lines if (word, int(run)) == (what, run_id))

    def wait_running(self, run_id: int, name: str) -> None:
        """Wait until a stage of the run is under way."""

        def running() -> bool:
            stage = self.stages(run_id).get(name)
            return stage is not None and stage.status == "running" and self.pending() > 0

        await_that(running, 60, lambda: self.complaint(run_id))

    def pending(self) -> int:
        """How many units workers hold at this moment."""
        with reading() as session:
            schema = "" if session.get_bind().dialect.name == "sqlite" else f"{queue.SCHEMA}."
            held = text(f"SELECT count(*) FROM {schema}workflow_status WHERE status='PENDING' AND name='run_unit'")
            return int(session.scalar(held) or 0)

    def wait_for_workers(self) -> None:
        """Wait until a control worker and a CPU worker are there."""
        await_that(lambda: bool(self.worker_pids("cpu") and self.worker_pids("control")), 60, lambda: "no workers")

    def worker_pids(self, role: str) -> list[int]:
        """The process ids of the live workers of a role."""
        with reading() as session:
            pids = [worker.process_id for worker in session.query(Worker).filter(Worker.role == role)]
        return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def worker_pid(self, role: str) -> int:
        """The process id of a live worker of a role."""
        return self.worker_pids(role)[0]

    def complaint(self, run_id: int) -> str:
        """What a failed wait should show."""
        stages = {name: (s.status, s.done, s.total) for name, s in self.stages(run_id).items()}
        log = (self.home / "workers.log").read_text()[-3000:]
        return f"{self.run(run_id).status} {self.run(run_id).error} {stages}\n{self.written(run_id)}\n{log}"


def await_that(condition: Callable[[], bool], seconds: float, complaint: Callable[[], str]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(complaint())
        time.sleep(0.05)


@contextmanager
def installed(folder: Path, database_url: str, workers: int) -> Iterator[Installation]:
    """Yield an installation whose workers run."""
    with pytest.MonkeyPatch.context() as patch:
        settings = {"database_url": database_url, "cpu_workers": str(workers), "shard_rows": str(SHARD_ROWS)}
        with fresh_home(folder, patch, **settings) as home:
            made = Installation(home)
            made.knobs()
            _dataset()
            made.start()
            try:
                yield made
            finally:
                made.kill()


def _dataset() -> None:
    n = SHARD_ROWS * SHARDS
    key = artifact_key("ingest", 1, data="acceptance")
    with get_artifacts().write(key) as folder:
        ids = [f"{i}.png" for i in range(n)]
        columns = {"row": np.arange(n), "example_id": ids, "label": pa.array(np.arange(n) % 3, pa.int32())}
        pq.write_table(pa.table(columns), folder / "manifest.parquet")
        (folder / "packs.json").write_text('["pack"]')
    with transaction() as session:
        session.add(Project(name="p"))
        session.flush()
        session.add(
            Dataset(
                project_id=1,
                name="d",
                status="succeeded",
                classes=["a", "b", "c"],
                rows=n,
                data_hash="d",
                artifact_key=key,
            )
        )
        session.flush()
        session.add(DatasetSplit(dataset_id=1, name="val", start=0, stop=n))


def _version(session) -> int:
    number = next(_numbers)
    model = Model(project_id=1, name=f"m{number}")
    session.add(model)
    session.flush()
    spec = {"format": "onnx", "classes": ["a", "b", "c"]}
    version = ModelVersion(model_id=model.id, number=1, status="succeeded", format="onnx", spec=spec)
    session.add(version)
    session.flush()
    session.add(Checkpoint(version_id=version.id, position=0, filename="m", sha256=f"{number:064x}", size=1))
    return version.id
