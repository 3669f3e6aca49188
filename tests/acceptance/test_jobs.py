"""Runs are jobs: nothing that a killed process leaves behind is lost, and no finished shard is computed again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app.services import queue
from app.store.models import Stage, Worker
from app.store.models.base import utcnow
from app.store.places import get_artifacts
from app.store.repositories import jobs
from app.store.repositories.jobs import Job, StagePlan
from app.store.session import reading, transaction
from tests.acceptance.installation import SHARD_ROWS, SHARDS, Installation
from workers import maintenance

pytestmark = pytest.mark.acceptance
EVERY_SHARD_ONCE = dict.fromkeys(range(0, SHARD_ROWS * SHARDS, SHARD_ROWS), 1)


def test_killed_workers(place: Installation) -> None:
    """First the one that computes, in the middle of a shard; then the one that leads."""
    place.knobs(seconds=0.3)
    run = place.new_run()
    place.wait_written(run.id, 2)
    os.kill(place.worker_pid("cpu"), signal.SIGKILL)
    place.wait_written(run.id, 4)
    os.kill(place.worker_pid("control"), signal.SIGKILL)
    assert place.wait(run.id, "succeeded", "failed").error == ""
    assert place.written(run.id) == EVERY_SHARD_ONCE


def test_killed_server(place: Installation) -> None:
    place.knobs(seconds=0.3)
    run = place.new_run()
    place.wait_written(run.id, 3)
    place.kill()
    assert place.run(run.id).status == "running"
    place.start()
    assert place.wait(run.id, "succeeded", "failed").error == ""
    assert place.written(run.id) == EVERY_SHARD_ONCE
    assert place.stages(run.id)["predict"].done == SHARD_ROWS * SHARDS


def test_cancel_and_resume(place: Installation) -> None:
    place.knobs(seconds=0.3)
    run = place.new_run()
    place.wait_written(run.id, 2)
    with transaction() as session:
        assert jobs.request_cancel(session, Job("run", run.id))
        queue.cancel(session, queue.workflow_id("audit_run", run.id))
    assert {stage.status for stage in place.stages(run.id).values()} <= {"cancelled", "succeeded"}
    time.sleep(1.5)
    stopped_at = place.written(run.id)
    time.sleep(1.0)
    assert place.written(run.id) == stopped_at
    assert stopped_at.total() < SHARDS
    with reading() as session:
        assert queue.status(session, f"run-{run.id}-0") == "CANCELLED"
    with transaction() as session:
        attempt = jobs.resume(session, run.id)
        assert attempt == 1
        queue.enqueue(session, "audit_run", run.id, attempt=attempt)
    assert place.wait(run.id, "succeeded", "failed").error == ""
    assert place.written(run.id) == EVERY_SHARD_ONCE
    assert place.stages(run.id)["predict"].cached == SHARD_ROWS * stopped_at.total()


def test_poison_shard_is_set_aside(place: Installation) -> None:
    place.knobs(seconds=0.02, poison=(30,))
    run = place.new_run()
    done = place.wait(run.id, "succeeded", "failed", seconds=100)
    assert (done.status, done.error) == ("succeeded", "")
    assert place.written(run.id, "died") == {30: 4}
    predict = place.stages(run.id)["predict"]
    assert (predict.done, predict.message) == (70, "10 of 80 rows set aside")
    table = pq.read_table(get_artifacts().local(done.scores_key) / "scores.parquet")
    unknown = [
        row for row, right in zip(table["row"].to_pylist(), table["correct"].to_pylist(), strict=True) if right is None
    ]
    assert unknown == list(range(30, 40))
    assert done.summary["card"]["accuracy"]["n"] == 70


def test_second_audit_recomputes_nothing(place: Installation) -> None:
    place.knobs(seconds=0.02)
    first = place.wait(place.new_run().id, "succeeded", "failed")
    second = place.wait(place.new_run(first.model_version_id).id, "succeeded", "failed")
    assert second.status == "succeeded"
    assert place.written(second.id).total() == 0
    stages = place.stages(second.id)
    assert all(stages[name].cached == stages[name].total > 0 for name in ("predict", "trivial:count", "trivial:double"))
    assert second.scores_key == first.scores_key


def test_counters_lose_no_update(place: Installation) -> None:
    run = place.wait(place.new_run().id, "succeeded")
    with transaction() as session:
        session.get_one(type(run), run.id).status = "running"
        jobs.plan_stages(session, Job("run", run.id), [StagePlan("predict", "Predict")])
        jobs.begin_stage(session, Job("run", run.id), "predict", total=10_000)
    script = (
        "from app.store.repositories import jobs; from app.store.session import transaction\n"
        f"for _ in range(100):\n"
        f"    with transaction() as s: jobs.add_done(s, jobs.Job('run', {run.id}), 'predict', 1)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    with reading() as session:
        assert session.query(Stage).filter_by(subject_id=run.id, name="predict").one().done == 400


def test_supervisor_ends_its_workers(place: Installation) -> None:
    pids = [place.worker_pid("cpu"), place.worker_pid("control")]
    assert place.stop() == 0
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)
    place.start()


def test_work_of_a_lost_machine_is_given_to_others(place: Installation) -> None:
    """A worker of a name that nobody will start again dies in the middle of a shard."""
    place.wait_for_workers()
    assert place.stop() == 0
    place.knobs(seconds=60)
    run = place.new_run()
    lost = place.worker("--role", "all", "--executor", "lost-machine")
    place.wait_running(run.id, "predict")
    lost.kill()
    lost.wait()
    place.knobs(seconds=0.02)
    place.start()
    time.sleep(1.0)
    assert place.run(run.id).status == "running"
    with transaction() as session:
        session.get_one(Worker, "lost-machine").heartbeat_at = utcnow() - timedelta(minutes=10)
    assert maintenance.recover_lost() == ["lost-machine"]
    assert place.wait(run.id, "succeeded", "failed").error == ""
    assert place.written(run.id) == EVERY_SHARD_ONCE
    with reading() as session:
        assert session.get(Worker, "lost-machine") is None


def test_two_workers_never_share_a_name(place: Installation) -> None:
    place.wait_for_workers()
    with reading() as session:
        taken = next(worker.executor_id for worker in session.query(Worker) if worker.role == "control")
    second = place.worker("--role", "control", "--executor", taken)
    assert second.wait(60) == 1
