"""kill -9 of a real worker while it takes gradients and while it retrains; a cancel while it retrains."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from app.audits.retraining import StoredPlan
from app.services import keys, queue
from app.settings import get_settings
from app.store.models import AuditRun, Checkpoint, Dataset, ModelVersion
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs
from app.store.repositories.jobs import Job
from app.store.session import reading, transaction
from tests.workers import build
from tests.workers.home import fresh_home
from workers import planning, retraining, warm
from workers.run_plan import load_run
from workers.testing import Twin

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]
GRADIENTS = "influence:gradients"
RECIPE = {"epochs": 12, "batch_size": 4, "learning_rate": 0.05}
PARAMS = {"features": 256, "top": 5, "retrain": 16, "repeats": 2, "proof_targets": 9}
Stamps = dict[str, int]


def new_run() -> int:
    """A run on 36 images with two checkpoints: 18 shards of gradients, 32 networks in four units."""
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), build.images_zip())
    Twin().run_workflow("import_dataset", dataset.id)
    with transaction() as session:
        version = build.version(session, dataset.project_id, build.weights(), {"recipe": RECIPE})
        later = get_blobs().put([build.weights(1)])
        session.add(Checkpoint(version_id=version.id, position=1, filename="l", sha256=later.sha256, size=later.size))
    Twin().run_workflow("check_model", version.id)
    warm._drop_child()
    with transaction() as session:
        data, net = session.get_one(Dataset, dataset.id), session.get_one(ModelVersion, version.id)
        return build.run(session, data, net, kinds=["influence"], params={"influence": PARAMS}).id


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A real worker process; the next one takes its name and its work."""
    command = [sys.executable, "-m", "workers.main", "--role", "all", "--executor", "only"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def stamps(run_id: int, units: Callable[[int], list[str]]) -> Stamps:
    """When each finished unit's artifact was written, by its key."""
    store = get_artifacts()
    return {key: store.local(key).stat().st_mtime_ns for key in units(run_id) if store.has(key)}


def enough(run_id: int, units: Callable[[int], list[str]]) -> bool:
    return len(stamps(run_id, units)) >= 2


def gradient_units(run_id: int) -> list[str]:
    base = planning.shard_bases(["run", run_id, 0], "cpu", {})[GRADIENTS]
    return [keys.shard_key(GRADIENTS, base, *rows) for rows in load_run(run_id).shards(GRADIENTS)]


def trained_units(run_id: int) -> list[str]:
    plan, key = load_run(run_id), plan_key()
    if not key:
        return []
    planned = StoredPlan(get_artifacts().local(key), 18)
    return [retraining.models_key(plan, planned, "cpu", *some) for some in retraining.ranges(plan, len(planned))]


def plan_key() -> str:
    """The artifact that says what to retrain; empty until it is there."""
    found = (path.name for path in (get_settings().home / "store").glob("artifacts/*/influence.plan-*"))
    return next((name for name in found if get_artifacts().has(name)), "")


def await_that(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.03)


def status(run_id: int) -> str:
    with reading() as session:
        return session.get_one(AuditRun, run_id).status


def contents(run_id: int) -> dict[str, bytes]:
    """Every file that the run's stages wrote."""
    with reading() as session:
        run = session.get_one(AuditRun, run_id)
    named = {**run.details_keys, **{key: key for key in (*gradient_units(run_id), *trained_units(run_id))}}
    folders = {name: get_artifacts().local(key) for name, key in named.items()}
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes()
        for name, folder in folders.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run in one process gives that nobody kills."""
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("calm"), patch, shard_rows="2"):
        run_id = new_run()
        Twin().run_workflow("audit_run", run_id)
        warm._drop_child()
        assert status(run_id) == "succeeded"
        return contents(run_id)


@pytest.fixture
def queued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A run that waits for a worker."""
    with fresh_home(tmp_path, monkeypatch, shard_rows="2"):
        run_id = new_run()
        with transaction() as session:
            queue.enqueue(session, "audit_run", run_id)
        yield run_id


def test_what_was_done_before_a_kill_is_not_done_again_and_nothing_differs(
    queued: int, undisturbed: dict[str, bytes]
) -> None:
    before: Stamps = {}
    for units, total in ((gradient_units, 18), (trained_units, 4)):
        with worker() as process:
            await_that(partial(enough, queued, units))
            process.send_signal(signal.SIGKILL)
            process.wait()
        found = stamps(queued, units)
        assert 2 <= len(found) < total, "killed in the middle"
        before |= found
    assert status(queued) == "running"
    with worker():
        await_that(lambda: status(queued) in {"succeeded", "failed"})
    after = stamps(queued, gradient_units) | stamps(queued, trained_units)
    assert len(after) == 18 + 4
    assert {key: after[key] for key in before} == before, "written once"
    found_files = contents(queued)
    assert found_files.keys() == undisturbed.keys()
    assert [name for name in found_files if found_files[name] != undisturbed[name]] == []


def test_a_cancel_stops_a_retraining_and_a_resume_goes_on_from_there(queued: int) -> None:
    with worker():
        await_that(lambda: len(stamps(queued, trained_units)) >= 1)
        with transaction() as session:
            assert jobs.request_cancel(session, Job("run", queued))
            queue.cancel(session, queue.workflow_id("audit_run", queued))
        time.sleep(1.5)
        before = stamps(queued, trained_units)
        time.sleep(1.5)
        assert stamps(queued, trained_units) == before, "nothing goes on"
        assert len(before) < 4
        with transaction() as session:
            attempt = jobs.resume(session, queued)
            assert attempt == 1
            queue.enqueue(session, "audit_run", queued, attempt=attempt)
        await_that(lambda: status(queued) in {"succeeded", "failed"})
    assert status(queued) == "succeeded"
    after = stamps(queued, trained_units)
    assert {key: after[key] for key in before} == before
    with reading() as session:
        line = next(one for one in jobs.stages(session, "run", queued) if one.name == "influence:retrain")
    assert (line.cached, line.done) == (8 * len(before), 32)
