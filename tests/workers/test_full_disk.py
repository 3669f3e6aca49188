"""Jobs on a disk that is too small: one sentence on the job, nothing half done, and a retry once there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.store.models import AuditRun, Dataset, ModelVersion
from app.store.places import get_artifacts, get_blobs
from app.store.repositories import jobs, registry
from app.store.session import reading, transaction
from tests.full_disk import small_disk
from tests.workers import build
from workers import execute
from workers.execute import stage
from workers.testing import Twin

pytestmark = pytest.mark.long

SENTENCE = (
    "No space is left where Faultline stores its files; nothing was half written. Free some space, then try again."
)


def imported(data: bytes) -> Dataset:
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), data)
    return again(dataset.id)


def again(dataset_id: int) -> Dataset:
    with transaction() as session:
        session.get_one(Dataset, dataset_id).status = "queued"
    Twin().run_workflow("import_dataset", dataset_id)
    with reading() as session:
        return session.get_one(Dataset, dataset_id)


def files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def test_no_room_for_what_an_import_unpacks(home: Path) -> None:
    data = build.images_zip(400, ("train",))
    with small_disk(home / "sandbox", 1):
        dataset = imported(data)
        assert (dataset.status, dataset.error) == ("failed", SENTENCE)
        assert files(home / "sandbox") == []
        with reading() as session:
            assert [row.status for row in jobs.stages(session, "dataset", dataset.id)] == ["failed"]
            assert SENTENCE in [line.text for line in jobs.log_lines(session, "dataset", dataset.id)]
    assert get_artifacts().sizes() == {}
    assert (again(dataset.id).status, again(dataset.id).rows) == ("succeeded", 1200)


def test_no_room_in_the_store(home: Path) -> None:
    data = build.images_zip(400, ("train",))
    with small_disk(home / "store", 1):
        with transaction() as session:
            dataset = build.dataset(session, build.project(session), data)
        before = files(home / "store")
        dataset = again(dataset.id)
        assert (dataset.status, dataset.error) == ("failed", SENTENCE)
        assert files(home / "store") == before
        assert files(home / "sandbox") == []


def test_no_room_for_the_predictions_of_a_run(home: Path, trivial: str) -> None:
    dataset = imported(build.images_zip(400, ("val",)))
    with transaction() as session:
        version = build.version(session, dataset.project_id, build.weights())
        version.status = "succeeded"
        run = build.run(session, dataset, version, train_split="")
    with small_disk(home / "sandbox", 1) as disk:
        (disk / "ballast").write_bytes(b"x" * (2**20 - 5 * 4096))
        Twin().run_workflow("audit_run", run.id)
        with reading() as session:
            failed = session.get_one(AuditRun, run.id)
            assert (failed.status, failed.error) == ("failed", SENTENCE)
    with transaction() as session:
        attempt = jobs.resume(session, run.id)
    Twin().run_workflow("audit_run", run.id, attempt or 0)
    with reading() as session:
        assert session.get_one(AuditRun, run.id).status == "succeeded"


def test_no_room_for_a_models_sample(home: Path) -> None:
    dataset = imported(build.images_zip(40, ("val",)))
    with transaction() as session:
        version = build.version(session, dataset.project_id, build.weights(), claim={"dataset_id": dataset.id})
    with small_disk(home / "sandbox", 1) as disk:
        (disk / "ballast").write_bytes(b"x" * (2**20 - 5 * 4096))
        Twin().run_workflow("check_model", version.id)
    with reading() as session:
        found = session.get_one(ModelVersion, version.id)
        assert (found.status, found.error) == ("failed", SENTENCE)
        assert get_blobs().has(registry.checkpoints(session, version.id)[-1].sha256)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("9 requested and 4 written")])
def test_a_stage_that_finds_no_room_is_not_tried_four_times(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(work: object) -> dict[str, object]:
        raise error

    monkeypatch.setattr(execute, "stage", lambda name: full if name == "ingest" else stage(name))
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), b"x")
    twin = Twin()
    twin.run_workflow("import_dataset", dataset.id)
    assert len(twin.ran) == 1
    with reading() as session:
        assert session.get_one(Dataset, dataset.id).error == SENTENCE
