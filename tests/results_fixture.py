"""A finished audit, made of rows and artifacts whose numbers agree with each other.

`tests.results_rows` draws the rows and counts from them; this module writes them where a finished run leaves them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from app.store.artifacts import ArtifactStore, artifact_key
from app.store.blobs import BlobStore
from app.store.models import (
    AuditRun,
    Dataset,
    DatasetSplit,
    Finding,
    Membership,
    Model,
    ModelVersion,
    Project,
    Query,
    User,
)
from tests.pictures import picture
from tests.results_rows import CLASSES, COLOURS, SETTINGS, Rows, draw_rows, hypothesis_answer, slice_drafts, summary

TRAIN_ROWS = 100


@dataclass
class Built:
    """Ids of what was made."""

    project_id: int
    owner_id: int
    analyst_id: int
    dataset_id: int
    version_id: int
    run_id: int
    finding_ids: dict[str, int]
    query_ids: list[int]
    rows: Rows


def build(session: Session, artifacts: ArtifactStore, blobs: BlobStore, per_class: int = 240) -> Built:
    """Write a finished run and all that it stands on; the caller commits."""
    rng = np.random.default_rng(5)
    rows = draw_rows(rng, per_class)
    people = _people(session)
    dataset = _dataset(session, artifacts, blobs, rows, people, rng)
    version = _version(session, people)
    drafts = slice_drafts(rows)
    rows.slices = [[d["key"] for d in drafts if i in d["members"]] for i in range(len(rows.label))]
    run = _run(session, artifacts, rows, drafts, dataset, version, people)
    findings = {d["key"]: _finding(session, run.id, d) for d in drafts}
    queries = _queries(session, run.id, rows, people)
    return Built(
        people["project"], people["owner"], people["analyst"], dataset.id, version.id, run.id, findings, queries, rows
    )


def write_scores(path: Path, rows: Rows, start: int) -> None:
    """Write `scores.parquet`: one row per example of the audited split."""
    n = len(rows.label)
    table = pa.table(
        {
            "row": pa.array(np.arange(start, start + n), pa.int64()),
            "example_id": [f"val/{CLASSES[c]}/{i:06d}.webp" for i, c in enumerate(rows.label)],
            "split": ["val"] * n,
            "role": np.where(rows.confirm, "confirm", "fit"),
            "label": pa.array(rows.label, pa.int32()),
            "prediction": pa.array(rows.prediction, pa.int32()),
            "confidence": pa.array(rows.confidence, pa.float32()),
            "p_true": pa.array(rows.p_true, pa.float32()),
            "correct": ~rows.wrong,
            "decision": pa.array(rows.decision, pa.float32()),
            "slices": pa.array(rows.slices, pa.list_(pa.string())),
        }
    )
    pq.write_table(table, path)


def _people(session: Session) -> dict[str, int]:
    owner = User(email="ada@example.org", name="Ada", password_hash="x")
    analyst = User(email="ben@example.org", name="Ben", password_hash="x")
    project = Project(name="Street scenes")
    session.add_all([owner, analyst, project])
    session.flush()
    session.add(Membership(project_id=project.id, user_id=owner.id, role="owner"))
    session.add(Membership(project_id=project.id, user_id=analyst.id, role="analyst"))
    return {"owner": owner.id, "analyst": analyst.id, "project": project.id}


def _dataset(
    session: Session,
    artifacts: ArtifactStore,
    blobs: BlobStore,
    rows: Rows,
    people: dict[str, int],
    rng: np.random.Generator,
) -> Dataset:
    n = len(rows.label)
    key = artifact_key("ingest", 1, test=f"results-{n}")
    if not artifacts.has(key):
        with artifacts.write(key) as folder:
            _write_images(folder, blobs, rows, rng)
    dataset = Dataset(
        project_id=people["project"],
        name="Scenes",
        status="succeeded",
        classes=CLASSES,
        meta_columns=["colour", "setting"],
        rows=TRAIN_ROWS + n,
        data_hash="d" * 64,
        artifact_key=key,
    )
    session.add(dataset)
    session.flush()
    bounds = {"train": (0, TRAIN_ROWS), "val": (TRAIN_ROWS, TRAIN_ROWS + n)}
    for name, (start, stop) in bounds.items():
        session.add(DatasetSplit(dataset_id=dataset.id, name=name, start=start, stop=stop))
    return dataset


def _write_images(folder: Path, blobs: BlobStore, rows: Rows, rng: np.random.Generator) -> None:
    """Training rows repeat the first audited rows' looks; their pixels do not matter here."""
    order = [*range(TRAIN_ROWS), *range(len(rows.label))]
    files = [
        picture(
            CLASSES[rows.label[i]],
            COLOURS[rows.colour[i]],
            SETTINGS[rows.setting[i]],
            int(rng.integers(-24, 25)),
            float(rng.uniform(0.7, 1.25)),
        )
        for i in order
    ]
    lengths = np.array([len(f) for f in files], np.uint64)
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.uint64)
    zero = np.zeros_like(lengths)
    np.save(folder / "index.npy", np.stack([zero, offsets, lengths, zero, offsets, lengths], axis=1))
    pack = blobs.put([b"".join(files)])
    (folder / "packs.json").write_text(json.dumps([pack.sha256]))
    pq.write_table(_manifest(rows, order), folder / "manifest.parquet")


def _manifest(rows: Rows, order: list[int]) -> pa.Table:
    n = len(order)
    split = ["train"] * TRAIN_ROWS + ["val"] * (n - TRAIN_ROWS)
    ids = [f"{split[j]}/{CLASSES[rows.label[i]]}/{i:06d}.webp" for j, i in enumerate(order)]
    return pa.table(
        {
            "row": pa.array(range(n), pa.int64()),
            "example_id": ids,
            "split": split,
            "label": pa.array(rows.label[order], pa.int32()),
            "sha256": [f"{i:064x}" for i in range(n)],
            "width": pa.array([160] * n, pa.int32()),
            "height": pa.array([160] * n, pa.int32()),
            "group": pa.array(range(n), pa.int64()),
            "path": ids,
            "meta.colour": [COLOURS[rows.colour[i]] for i in order],
            "meta.setting": [SETTINGS[rows.setting[i]] for i in order],
        }
    )


def _version(session: Session, people: dict[str, int]) -> ModelVersion:
    model = Model(project_id=people["project"], name="Scene classifier")
    session.add(model)
    session.flush()
    version = ModelVersion(model_id=model.id, number=1, status="succeeded", format="safetensors", model_hash="m" * 64)
    session.add(version)
    session.flush()
    return version


def _run(
    session: Session,
    artifacts: ArtifactStore,
    rows: Rows,
    drafts: list[dict[str, Any]],
    dataset: Dataset,
    version: ModelVersion,
    people: dict[str, int],
) -> AuditRun:
    n = len(rows.label)
    save, decision = _saver(artifacts, n), rows.decision.astype(np.float32)
    run = AuditRun(
        project_id=people["project"], name="Scene classifier v1 on Scenes", model_version_id=version.id,
        dataset_id=dataset.id, split="val", train_split="train", kinds=["slices"], params={"slices": {}},
        encoder="scenes", seed=0, status="succeeded", summary=summary(rows, drafts), created_by=people["owner"],
        scores_key=save("scores", lambda folder: write_scores(folder / "scores.parquet", rows, TRAIN_ROWS)),
        details_keys={
            "slices:slices": save("slices", lambda folder: np.save(folder / "decision.npy", decision)),
            "slices:map": save("map", lambda folder: _save_map(folder, rows)),
            "embed-all": save("embed-all", lambda folder: np.save(folder / "embeddings.npy", embeddings(rows))),
            "predict-all": save("predict-all", lambda folder: np.save(folder / "logits.npy", rows.logits)),
        },
        provenance={"data": "d" * 64, "model": "m" * 64, "code": "c" * 40},
    )  # fmt: skip
    session.add(run)
    session.flush()
    return run


def _saver(artifacts: ArtifactStore, n: int) -> Callable[[str, Callable[[Path], None]], str]:
    def save(name: str, fill: Callable[[Path], None]) -> str:
        key = artifact_key(name, 1, test=f"results-{n}")
        with artifacts.write(key) as folder:
            fill(folder)
        return key

    return save


def _save_map(folder: Path, rows: Rows) -> None:
    np.save(folder / "xy.npy", rows.xy)
    np.save(folder / "points.npy", np.arange(len(rows.label), dtype=np.int64))


def embeddings(rows: Rows) -> np.ndarray:
    """float32 [n, 8]: class, colour and setting as directions, and a little noise."""
    rng = np.random.default_rng(11)
    axes = rng.normal(0, 1, (len(CLASSES) + len(COLOURS) + len(SETTINGS), 8))
    looks = axes[rows.label] + axes[len(CLASSES) + rows.colour] + axes[len(CLASSES) + len(COLOURS) + rows.setting]
    return (looks + rng.normal(0, 0.1, looks.shape)).astype(np.float32)


def _finding(session: Session, run_id: int, draft: dict[str, Any]) -> int:
    columns = {name: value for name, value in draft.items() if name != "members"}
    finding = Finding(run_id=run_id, kind="slices", subject="slice", **columns)
    session.add(finding)
    session.flush()
    return finding.id


def _queries(session: Session, run_id: int, rows: Rows, people: dict[str, int]) -> list[int]:
    made = []
    for position, (sentence, setting) in enumerate([("a cat on grass", "grass"), ("a cat on sand", "sand")], start=1):
        answer = hypothesis_answer(rows, 2, rows.where(2, None, setting), sentence)
        query = Query(
            run_id=run_id,
            kind="slices",
            action="hypothesis",
            payload={"sentence": sentence, "class_index": 2, "rows": [], "share": 0.1},
            status="succeeded",
            position=position,
            p_value=answer["p_value"],
            adjusted_p_value=min(answer["p_value"] * 6, 1.0),
            result=answer,
            created_by=people["analyst"],
        )
        session.add(query)
        session.flush()
        made.append(query.id)
    return made
