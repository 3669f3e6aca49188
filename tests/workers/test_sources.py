"""Where logits and embeddings come from: a table in place of a model, an encoder, what the person brought."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from app.loaders.models.predictions_ids import hashed
from app.services import keys
from app.store.models import AuditRun, Dataset, ModelVersion
from app.store.places import get_artifacts
from app.store.repositories import jobs, registry
from app.store.session import reading, transaction
from tests.workers import build
from workers import warm
from workers.testing import Twin

IDS = [f"id{i}" for i in range(9)]
LABELS = [build.CLASSES[i % 3] for i in range(9)]


class PlainEncoder:
    """Embeds an image as its number of bytes, a sentence as its length."""

    weights_hash = "w" * 64
    dimension = 2
    reads_text = True
    words = None

    def __init__(self) -> None:
        self.images = 0

    def embed_images(self, images: Iterable[bytes], batch_size: int) -> np.ndarray:
        sizes = [len(image) for image in images]
        self.images += len(sizes)
        return np.array([[size, 1] for size in sizes], np.float32)

    def embed_text(self, sentences: Sequence[str]) -> np.ndarray:
        return np.array([[len(sentence), 0] for sentence in sentences], np.float32)


def table_dataset(session) -> Dataset:
    """Rows without images, with embeddings of their own."""
    lines = ["id,label,split,e0,e1"]
    lines += [f"{name},{label},val,{i}.5,{-i}" for i, (name, label) in enumerate(zip(IDS, LABELS, strict=True))]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("manifest.csv", "\n".join(lines))
    dataset = build.dataset(session, build.project(session), target.getvalue())
    dataset.source = {**dataset.source, "options": {"images": "none"}}
    return dataset


def predictions(rows: int) -> bytes:
    """Probabilities of the first rows; every prediction is the first class."""
    lines = ["id," + ",".join(build.CLASSES)] + [f"{name},0.7,0.2,0.1" for name in IDS[:rows]]
    return "\n".join(lines).encode()


def audited(rows: int) -> tuple[AuditRun, ModelVersion]:
    twin = Twin()
    with transaction() as session:
        dataset = table_dataset(session)
        version = build.version(
            session, dataset.project_id, predictions(rows), format="predictions", architecture="", preprocessing={}
        )
    twin.run_workflow("import_dataset", dataset.id)
    twin.run_workflow("check_model", version.id)
    with transaction() as session:
        dataset = session.get_one(Dataset, dataset.id)
        assert (dataset.status, dataset.error) == ("succeeded", "")
        run = build.run(session, dataset, version, train_split="", encoder="given")
    twin.run_workflow("audit_run", run.id)
    with reading() as session:
        return session.get_one(AuditRun, run.id), session.get_one(ModelVersion, version.id)


def test_predictions_and_given_embeddings_need_neither_model_nor_encoder(home: Path, trivial: str) -> None:
    run, version = audited(rows=9)
    assert (version.status, version.error) == ("succeeded", "")
    assert (run.status, run.error) == ("succeeded", "")
    assert run.summary["card"]["accuracy"]["k"] == 3
    with reading() as session:
        (file,) = registry.checkpoints(session, version.id)
    known = np.load(get_artifacts().local(keys.prediction_ids_key(file.sha256)) / "ids.npy")
    assert known.tolist() == sorted(hashed(IDS).tolist())
    assert run.summary["card"]["calibration"]["bins"][0]["confidence"] == pytest.approx(0.7, abs=1e-5)


def test_examples_that_the_table_lacks_are_not_audited(home: Path, trivial: str) -> None:
    run, _ = audited(rows=6)
    assert run.summary["card"]["not_judged"] == 3
    with reading() as session:
        texts = [line.text for line in jobs.log_lines(session, "run", run.id)]
    assert any(text.startswith("The table has no predictions for 3 examples, such as id6") for text in texts)


def test_encoder(home: Path, trivial: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings stand in the order of the rows; a second run embeds nothing."""
    encoder = PlainEncoder()
    monkeypatch.setattr(warm, "encoder", lambda spec, device: encoder)
    twin = Twin()
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), build.images_zip(3, ("val",)))
        version = build.version(session, dataset.project_id, build.weights())
        version.status = "succeeded"
    twin.run_workflow("import_dataset", dataset.id)
    for expected in (9, 9):
        with transaction() as session:
            run = build.run(session, session.get_one(Dataset, dataset.id), version, train_split="", encoder="plain")
        twin.run_workflow("audit_run", run.id)
        with reading() as session:
            run = session.get_one(AuditRun, run.id)
        assert (run.status, run.error) == ("succeeded", "")
        assert encoder.images == expected
    found = np.load(get_artifacts().local(run.details_keys["embed-all"]) / "embeddings.npy")
    with zipfile.ZipFile(io.BytesIO(build.images_zip(3, ("val",)))) as archive:
        sizes = [info.file_size for info in archive.infolist()]
    assert found[:, 0].tolist() == sizes
    assert run.provenance["encoder"]["weights_hash"] == encoder.weights_hash


def test_given_embeddings_that_are_not_there(home: Path, trivial: str) -> None:
    twin = Twin()
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), build.images_zip(1, ("val",)))
        version = build.version(session, dataset.project_id, build.weights())
        version.status = "succeeded"
    twin.run_workflow("import_dataset", dataset.id)
    with transaction() as session:
        run = build.run(session, session.get_one(Dataset, dataset.id), version, train_split="", encoder="given")
    twin.run_workflow("audit_run", run.id)
    with reading() as session:
        assert "brought no embeddings" in session.get_one(AuditRun, run.id).error


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"PK\x03\x04 no zip at all", "zip"), (b"\x80\x04\x95 pickle", "images.zip")],
)
def test_bad_uploads_fail_with_a_sentence(home: Path, data: bytes, words: str) -> None:
    with transaction() as session:
        dataset = build.dataset(session, build.project(session), data)
    Twin().run_workflow("import_dataset", dataset.id)
    with reading() as session:
        found = session.get_one(Dataset, dataset.id)
        assert found.status == "failed"
        assert words in found.error
        assert [stage.status for stage in jobs.stages(session, "dataset", dataset.id)] == ["failed"]


def test_a_pickle_is_refused(home: Path) -> None:
    with transaction() as session:
        version = build.version(session, build.project(session), b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}.")
    Twin().run_workflow("check_model", version.id)
    with reading() as session:
        found = session.get_one(ModelVersion, version.id)
        assert found.status == "failed"
        assert "pickle" in found.error
