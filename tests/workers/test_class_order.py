"""A model that lists its classes in another order than the data set: every number and name is the right one's."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save
from sqlalchemy import select

from app.main import create_app
from app.services import accounts
from app.services.reports.schema import ReportContent
from app.services.reports.scores import published_scores
from app.services.reports.snapshot import make_report, read_report
from app.store.models import AuditRun, Dataset, Finding, Membership, User
from app.store.places import get_artifacts
from app.store.session import reading, transaction
from app.web.deps import SESSION_COOKIE
from app.web.reader import LiveReader
from tests.factories import create_user
from tests.workers import build
from tests.workers.home import fresh_home
from workers import warm
from workers.testing import Twin

pytestmark = pytest.mark.xdist_group("class-order")

ORDER = ["red", "blue", "green"]
"""The model's; the data set's is blue, green, red."""
CHANNEL = {"red": 0, "green": 1, "blue": 2}
PER_CLASS = 60


def pictures() -> bytes:
    """Plain colours; every second green picture has so much red in it that the network takes it for red."""
    rng, target = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, channel in CHANNEL.items():
            for i in range(PER_CLASS):
                pixels = rng.integers(0, 40, (16, 16, 3), dtype=np.uint8)
                pixels[..., channel] += 150
                pixels[..., 0] += 120 if name == "green" and i % 2 else 0
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, "PNG")
                archive.writestr(f"val/{name}/{i:03d}.png", picture.getvalue())
    return target.getvalue()


def network() -> bytes:
    """Mean of each colour, red counted twice, in the model's order."""
    weights = {"0.weight": torch.zeros(4, 3, 3, 3), "0.bias": torch.zeros(4), "4.bias": torch.zeros(3)}
    weights["4.weight"] = torch.zeros(3, 4)
    for position, name in enumerate(ORDER):
        weights["0.weight"][CHANNEL[name], CHANNEL[name], 1, 1] = 1
        weights["4.weight"][position, CHANNEL[name]] = 40 if name == "red" else 20
    return save(weights)


@dataclass
class Audited:
    """The finished run, and its report."""

    run: AuditRun
    report: ReportContent
    owner: int

    def page(self, path: str) -> dict:
        """Return the JSON twin of one of the run's pages."""
        with transaction() as session:
            token = accounts.start_session(session, session.get_one(User, self.owner)).token
        with TestClient(create_app()) as client:
            address = f"/api/v1/runs/{self.run.id}{path}"
            return client.get(address, headers={"Cookie": f"{SESSION_COOKIE}={token}"}).json()


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with pytest.MonkeyPatch.context() as patch, fresh_home(tmp_path_factory.mktemp("order"), patch):
        twin = Twin()
        with transaction() as session:
            owner = create_user(session, "ada@example.org").id
            project = build.project(session)
            session.add(Membership(project_id=project, user_id=owner, role="owner"))
            dataset = build.dataset(session, project, pictures())
        twin.run_workflow("import_dataset", dataset.id)
        steps = {"size": [16, 16], "resize": "stretch", "mean": [0, 0, 0], "std": [1, 1, 1]}
        with transaction() as session:
            version = build.version(session, project, network(), classes=ORDER, preprocessing=steps)
        twin.run_workflow("check_model", version.id)
        params = {"slices": {"methods": ["direction"], "calibrate": False, "compare_encoders": False}}
        with transaction() as session:
            stored = session.get_one(Dataset, dataset.id)
            run = build.run(session, stored, version, train_split="", kinds=["slices"], params=params)
        twin.run_workflow("audit_run", run.id)
        with transaction() as session:
            done = session.get_one(AuditRun, run.id)
            assert (done.status, done.error) == ("succeeded", "")
            assert session.get_one(Dataset, dataset.id).classes == sorted(ORDER)
            report = read_report(make_report(session, done, session.get_one(User, owner), LiveReader(session, done)))
        yield Audited(done, report, owner)
        warm._drop_child()


def test_scores_speak_in_the_models_order(audited: Audited) -> None:
    table = pq.read_table(get_artifacts().local(audited.run.scores_key) / "scores.parquet").to_pydict()
    for path, label, prediction in zip(table["example_id"], table["label"], table["prediction"], strict=True):
        _, name, file = path.split("/")
        tinted = name == "green" and int(file[:3]) % 2
        assert ORDER[label] == name
        assert ORDER[prediction] == ("red" if tinted else name)


def test_published_scores_name_the_classes(audited: Audited) -> None:
    table = pq.read_table(published_scores(audited.run, audited.report)).to_pydict()
    assert [path.split("/")[1] for path in table["id"]] == table["label"]
    pairs = set(zip(table["label"], table["prediction"], strict=True))
    assert pairs == {("red", "red"), ("blue", "blue"), ("green", "green"), ("green", "red")}


def test_the_slice_is_of_the_right_class_and_taken_for_the_right_one(audited: Audited) -> None:
    with reading() as session:
        found = session.scalars(select(Finding).where(Finding.evidence == "confirmed")).all()
    assert found
    for finding in found:
        assert ORDER[finding.class_index] == "green"
        assert [m["name"] for m in finding.metrics["mistaken_for"]] == ["red"]


def test_the_pages_name_it_so(audited: Audited) -> None:
    rows = {row["name"]: row for row in audited.page("/classes")["rows"]}
    assert {name: row["errors"]["value"] for name, row in rows.items()} == {"red": 0, "blue": 0, "green": 0.5}
    green = audited.page(f"/classes/{ORDER.index('green')}")
    assert green["name"] == "green"
    assert [(m["name"], m["n"]) for m in green["taken_for"]] == [("red", PER_CLASS // 2)]
    red = audited.page(f"/classes/{ORDER.index('red')}")
    assert [(m["name"], m["n"]) for m in red["taken_from"]] == [("green", PER_CLASS // 2)]


def test_the_report_says_the_same(audited: Audited) -> None:
    assert audited.report.data.classes == ORDER
    assert audited.report.card["accuracy"]["value"] == pytest.approx(5 / 6)
    assert {ORDER[f.class_index] for f in audited.report.findings} == {"green"}
    table = pq.read_table(get_artifacts().local(audited.run.scores_key) / "scores.parquet").to_pydict()
    paths = dict(zip(table["row"], table["example_id"], strict=True))
    assert audited.report.images
    for image in audited.report.images:
        assert ORDER[image.label] == paths[image.row].split("/")[1]


def test_the_order_of_the_two_differs_on_disk(audited: Audited) -> None:
    """Else these tests would show nothing."""
    with reading() as session:
        dataset = session.get_one(Dataset, audited.run.dataset_id)
        folder: Path = get_artifacts().local(dataset.artifact_key)
    labels = pq.read_table(folder / "manifest.parquet")["label"].to_pylist()
    scores = pq.read_table(get_artifacts().local(audited.run.scores_key) / "scores.parquet")["label"].to_pylist()
    assert sorted(labels) == sorted(scores)
    assert labels != scores
    assert json.loads((folder / "integrity.json").read_text())["rows"] == len(labels)
