"""Imports and checks are cancelled and tried again, by page, script and command line; names are held once."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.cli import commands
from app.services import queue
from app.store.models import Checkpoint, Dataset, Upload
from app.store.repositories import jobs, registry
from app.store.session import reading, transaction
from tests.factories import People, Signed, create_dataset, create_stage, create_version


def _importing(project_id: int, **fields: object) -> int:
    """Store an import under way, submitted; return its data set's id."""
    with transaction() as session:
        dataset = create_dataset(session, project_id, **{"status": "running", "source": {"uploads": [7]}, **fields})
        create_stage(session, "dataset", dataset.id, name="ingest")
        queue.enqueue(session, "import_dataset", dataset.id)
        return dataset.id


def _checking(project_id: int) -> tuple[int, str]:
    with transaction() as session:
        version = create_version(session, project_id, status="running", claim={"accuracy": 0.5})
        session.add(Checkpoint(version_id=version.id, position=0, filename="a.onnx", sha256="ab" * 32, size=3))
        create_stage(session, "model_version", version.id, name="inspect")
        queue.enqueue(session, "check_model", version.id)
        return version.id, f"/models/{version.model_id}/versions/1"


def _engine(job: str) -> str | None:
    with reading() as session:
        return queue.status(session, job)


def test_an_import_is_cancelled_and_read_again(analyst: Signed, people: People) -> None:
    dataset_id = _importing(people.project_id)
    path = f"/datasets/{dataset_id}"
    assert f'action="{path}/cancel"' in analyst.get(path).text
    assert analyst.post(f"{path}/cancel").headers["location"] == path
    assert _engine(f"dataset-{dataset_id}-0") == "CANCELLED"
    with reading() as session:
        assert [stage.status for stage in jobs.stages(session, "dataset", dataset_id)] == ["cancelled"]
        assert "The files are kept" in jobs.log_lines(session, "dataset", dataset_id)[-1].text
    assert analyst.post(f"{path}/cancel").status_code == 409
    assert f'action="{path}/again"' in analyst.get(path).text
    again = analyst.post(f"{path}/again").headers["location"]
    with reading() as session:
        copy = session.get_one(Dataset, int(again.rpartition("/")[2]))
        assert (copy.name, copy.source, copy.status) == ("Garden", {"uploads": [7]}, "queued")


def test_a_check_is_cancelled_and_tried_again(analyst: Signed, people: People) -> None:
    version_id, path = _checking(people.project_id)
    assert f'action="{path}/cancel"' in analyst.get(path).text
    assert analyst.post(f"{path}/again").status_code == 409
    assert analyst.post(f"{path}/cancel").headers["location"] == path
    assert _engine(f"model-{version_id}-0") == "CANCELLED"
    assert f'action="{path}/again"' in analyst.get(path).text
    second = analyst.post(f"{path}/again").headers["location"]
    assert second == path[:-1] + "2"
    twin = analyst.get("/api/v1" + second).json()
    assert (twin["status"], twin["claimed"], twin["checkpoints"][0]["sha256"]) == ("queued", 0.5, "ab" * 32)


def test_scripts_do_the_same(analyst: Signed, people: People) -> None:
    dataset_id, (_, path) = _importing(people.project_id), _checking(people.project_id)
    answer = analyst.send("POST", f"/api/v1/datasets/{dataset_id}/cancel")
    assert answer.json() == {"id": dataset_id, "status": "cancelled"}
    again = analyst.send("POST", f"/api/v1/datasets/{dataset_id}/again")
    assert (again.status_code, again.json()["status"]) == (201, "queued")
    assert analyst.send("POST", f"/api/v1{path}/cancel").json() == {"number": 1, "status": "cancelled"}
    assert analyst.send("POST", f"/api/v1{path}/again").json() == {"number": 2, "status": "queued"}


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("outsider", 404)])
def test_who_may_not_add_may_not_cancel(client: TestClient, people: People, role: str, status: int) -> None:
    dataset_id, (_, path) = _importing(people.project_id), _checking(people.project_id)
    person = people.sign_in(client, role)
    for place in (f"/datasets/{dataset_id}", path):
        for what in ("cancel", "again"):
            assert person.post(f"{place}/{what}").status_code == status
            assert person.send("POST", f"/api/v1{place}/{what}").status_code == status


def test_the_command_line_does_the_same(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_USER", "owner@example.org")
    dataset_id = _importing(people.project_id)
    _checking(people.project_id)
    for arguments, said in (
        (["datasets", "cancel", "Garden"], f"The import of data set {dataset_id} is cancelled."),
        (["datasets", "retry", "Garden", "--no-wait"], f"Data set {dataset_id + 1}: Garden"),
        (["models", "cancel", "Feathers@1"], "The check of model 1, version 1 is cancelled."),
        (["models", "retry", "Feathers", "--no-wait"], "Model 1, version 2"),
    ):
        done = CliRunner().invoke(commands, arguments)
        assert (done.exit_code, done.stdout.strip()) == (0, said)
    with reading() as session:
        assert [version.status for version in registry.versions(session, 1)] == ["queued", "cancelled"]


def _upload(people: People) -> str:
    with transaction() as session:
        row = Upload(project_id=people.project_id, token="t" * 32, filename="a.zip", size=1, sha256="ab" * 32)
        row.created_by = people.ids["analyst"]
        session.add(row)
    return row.token


@pytest.mark.parametrize("status", ["queued", "running", "succeeded"])
def test_a_name_that_is_taken_is_refused_with_a_free_one(analyst: Signed, people: People, status: str) -> None:
    with transaction() as session:
        create_dataset(session, people.project_id, status=status)
        create_dataset(session, people.project_id, name="Garden 2")
    wanted = {"project_id": people.project_id, "name": " Garden ", "uploads": [_upload(people)]}
    answer = analyst.send("POST", "/api/v1/datasets", json=wanted)
    sentence = "There is a data set “Garden” already. Choose another name, such as “Garden 3”."
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, sentence)
    form = {"project_id": str(people.project_id), "name": "Garden", "files_token": "t" * 32}
    page = analyst.post("/datasets/new", form)
    assert page.status_code == 422
    assert "Garden 3" in page.text
    assert "a.zip is here already" in page.text
    assert analyst.send("POST", "/api/v1/datasets", json=wanted | {"name": "Garden 3"}).status_code == 201


def test_a_failed_import_frees_its_name_and_a_retry_takes_a_free_one(analyst: Signed, people: People) -> None:
    failed = _importing(people.project_id, status="failed")
    wanted = {"project_id": people.project_id, "name": "Garden", "uploads": [_upload(people)]}
    assert analyst.send("POST", "/api/v1/datasets", json=wanted).status_code == 201
    copy = analyst.send("POST", f"/api/v1/datasets/{failed}/again").json()["id"]
    with reading() as session:
        assert session.get_one(Dataset, copy).name == "Garden 2"
