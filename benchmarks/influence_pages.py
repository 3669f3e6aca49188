"""Pages of the kind `influence` over 50,000 training and 10,000 audited images: time and size, files included.

`python -m benchmarks.influence_pages [--train 50000] [--audited 10000] [--requests 20] [--serve PORT]` plants the
artifacts of a finished run, asks the server's own application for each page, every time about another image, and prints
the 95th percentile of wall and CPU milliseconds and the largest answer. Targets: 200 ms of CPU, 1 MB a page. `--serve`
leaves the same run open for a browser instead.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy.orm import Session

from app.main import serving
from app.services import accounts, queue
from app.store.artifacts import artifact_key
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
from app.store.places import get_artifacts, get_blobs
from app.store.session import transaction
from app.web.deps import SESSION_COOKIE

CLASSES = 100
METHODS = ("trak", "tracin", "knn_shapley", "similarity")
TOP, FELT, CHECKPOINTS = 50, 12, 10
LISTS = ("harmful", "mislabelled", "memorised", "duplicated", "leaked")
FORMS = ("csv", "parquet", "cleanlab.csv", "fiftyone.json")
CPU_LIMIT, SIZE_LIMIT = 200.0, 1_000_000


def main() -> None:
    """Plant the run, then measure or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--audited", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--serve", type=int, default=0, metavar="PORT")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["FAULTLINE_HOME"] = home
        queue.prepare()
        with transaction() as session:
            token = Planted(session, chosen.train, chosen.audited).build()
        if chosen.serve:
            print(f"http://127.0.0.1:{chosen.serve}/runs/1 with the cookie {SESSION_COOKIE}={token}", flush=True)
            uvicorn.run(serving(), port=chosen.serve, log_level="error", ws="none")
        else:
            measure(token, chosen.train, chosen.audited, chosen.requests)


def measure(token: str, train: int, audited: int, requests: int) -> None:
    """Print a line a page."""
    rng = np.random.default_rng(0)
    with TestClient(serving(), headers={"Cookie": f"{SESSION_COOKIE}={token}"}) as client:
        for name, path in paths(rng, train, audited).items():
            walls, cpus, size = [], [], 0
            client.get(path())
            for _ in range(requests):
                wall, cpu = time.perf_counter(), time.process_time()
                answer = client.get(path())
                walls.append(1000 * (time.perf_counter() - wall))
                cpus.append(1000 * (time.process_time() - cpu))
                assert answer.status_code == 200, (name, answer.status_code, answer.text[:300])
                size = max(size, len(answer.content))
            wall, cpu = (float(np.quantile(times, 0.95)) for times in (walls, cpus))
            kept = "ok" if cpu <= CPU_LIMIT and (size <= SIZE_LIMIT or name.startswith("file")) else "TOO MUCH"
            print(f"{name:<28} p95 {wall:5.0f} ms wall {cpu:5.0f} ms CPU {size / 1000:6.0f} kB  {kept}", flush=True)


def paths(rng: np.random.Generator, train: int, audited: int) -> dict[str, Callable[[], str]]:
    """Maker of a path for each page."""
    base = "/runs/1"
    found: dict[str, Callable[[], str]] = {
        "run": lambda: base,
        "image": lambda: f"{base}/images/{train + rng.integers(audited)}",
        "slice": lambda: f"{base}/slices/1",
        "training image": lambda: f"{base}/training/images/{rng.integers(train)}",
        "training image in a list": lambda: f"{base}/training/images/{rng.integers(train)}?list=harmful",
        "what acts together": lambda: f"{base}/training?list=influence-effects",
        "comparison": lambda: f"{base}/compare?with=2",
    }
    for one in LISTS:
        found[f"list {one}"] = lambda one=one: f"{base}/training?list={one}"  # type: ignore[misc]
        found[f"list {one}, deep"] = lambda one=one: f"{base}/training?list={one}&page=3"  # type: ignore[misc]
    for form in FORMS:
        found[f"file harmful.{form}"] = lambda form=form: f"{base}/training/harmful.{form}"  # type: ignore[misc]
    return found


class Planted:
    """A finished run of random scores, as an audit leaves it."""

    def __init__(self, session: Session, train: int, audited: int) -> None:
        self._session, self._train, self._audited = session, train, audited
        self._rng = np.random.default_rng(1)
        self._label = self._rng.integers(0, CLASSES, train + audited).astype(np.int32)
        self._names = [f"class {index:03d}" for index in range(CLASSES)]

    def build(self) -> str:
        """Write everything; return the token of a signed-in session."""
        session = self._session
        user = User(email="a@example.org", name="A", password_hash="")
        session.add_all([user, Project(name="Large"), Model(project_id=1, name="M")])
        session.flush()
        session.add(Membership(project_id=1, user_id=1, role="owner"))
        rows = self._train + self._audited
        ingest = _store("ingest", self._write_dataset)
        dataset = Dataset(
            project_id=1, name="L", status="succeeded", classes=self._names, rows=rows, artifact_key=ingest
        )
        session.add_all([dataset, ModelVersion(model_id=1, number=1, status="succeeded", format="safetensors")])
        session.flush()
        session.add(DatasetSplit(dataset_id=1, name="train", start=0, stop=self._train))
        session.add(DatasetSplit(dataset_id=1, name="test", start=self._train, stop=rows))
        shared = self._run_values()
        session.add_all([AuditRun(name=name, **shared) for name in ("Large run", "The other")])
        session.flush()
        finding = Finding(
            run_id=1, kind="slices", subject="slice", key="s", method="m", title="A slice", evidence="confirmed"
        )
        session.add(finding)
        session.flush()
        session.add_all(self._answers(finding.id))
        return accounts.start_session(session, user).token

    def _run_values(self) -> dict[str, Any]:
        return {
            "project_id": 1,
            "model_version_id": 1,
            "dataset_id": 1,
            "split": "test",
            "train_split": "train",
            "kinds": ["influence"],
            "encoder": "penultimate",
            "seed": 0,
            "status": "succeeded",
            "summary": {"influence": self._summary(), "card": {}},
            "scores_key": _store("scores", self._write_scores),
            "details_keys": {
                "influence:attribute": _store("attribute", self._write_attribute),
                "influence:suspects": _store("suspects", self._write_suspects),
                "influence:effects": _store("effects", self._write_effects),
            },
        }

    def _summary(self) -> dict[str, Any]:
        proved = {"verified": "verified", "low": 0.2, "high": 0.4}
        methods = [{"method": name, "lds": 0.3 - 0.01 * i, **proved} for i, name in enumerate(METHODS)]
        tops = {"mean": 9.0, "low": 8.0, "high": 10.0, "noisy": 100}
        halves = {"halves": "checkpoints", "compared": 20, "chance": 0.1, "noise": 1, "targets": self._audited}
        return {
            "train_rows": self._train,
            "targets": self._audited,
            "checkpoints": CHECKPOINTS,
            "ridge": 3.0,
            "methods": methods,
            "stability": {**halves, "helpful": tops, "harmful": tops},
            "proof": {"subsets": 64, "repeats": 2, "targets": 100, "repeatability": 0.5, "ceiling": 0.8},
            "suspects": {"mislabelled": 900, "leaked": 300, "duplicated": 500, "planted": 1500, "planted_named": 900},
            "effects": {
                "method": "trak",
                "targets": 400,
                "of_targets": self._audited,
                "shares": [0.2, 0.1, 0.05, 0.04, 0.03, 0.02],
                "clusters": [{"n": self._train // 8, "labels": [[0, 60], [1, 20]]} for _ in range(8)],
            },
        }

    def _write_dataset(self, folder: Path) -> None:
        rows = self._train + self._audited
        picture = io.BytesIO()
        Image.fromarray(self._rng.integers(0, 255, (160, 160, 3), dtype=np.uint8)).save(picture, "WEBP", quality=60)
        size = len(picture.getvalue())
        np.save(folder / "index.npy", np.tile(np.array([0, 0, size, 0, 0, size], np.uint64), (rows, 1)))
        (folder / "packs.json").write_text(json.dumps([get_blobs().put([picture.getvalue()]).sha256]))
        ids = [f"train/{i:08d}.jpg" for i in range(rows)]
        sizes = {"width": np.full(rows, 160), "height": np.full(rows, 160)}
        table = {"row": np.arange(rows), "example_id": ids, "path": ids, "label": self._label, **sizes}
        pq.write_table(pa.table(table), folder / "manifest.parquet", row_group_size=65_536, compression="zstd")

    def _write_scores(self, folder: Path) -> None:
        n, label = self._audited, self._label[self._train :]
        wrong = self._rng.random(n) < 0.2
        confidence = self._rng.random(n).astype(np.float32)
        table = {
            "row": np.arange(self._train, self._train + n),
            "example_id": [f"test/{i:08d}.jpg" for i in range(n)],
            "split": ["test"] * n,
            "role": ["confirm"] * n,
            "label": label,
            "prediction": np.where(wrong, (label + 1) % CLASSES, label).astype(np.int32),
            "confidence": confidence,
            "p_true": confidence,
            "correct": ~wrong,
            "decision": pa.nulls(n, pa.float32()),
            "slices": pa.array([["s"] if i < 500 else [] for i in range(n)], pa.list_(pa.string())),
        }
        pq.write_table(pa.table(table), folder / "scores.parquet", row_group_size=65_536, compression="zstd")

    def _write_attribute(self, folder: Path) -> None:
        for method in METHODS:
            for name, rows, of, width in (
                ("rows", self._audited, self._train, TOP),
                ("felt", self._train, self._audited, FELT),
            ):
                places = self._rng.integers(0, of, (rows, 2 * width), dtype=np.int32)
                np.save(folder / f"{method}.{name}.npy", places)
                np.save(
                    folder / f"{method}.{'scores' if name == 'rows' else 'felt_scores'}.npy", self._ends(rows, width)
                )
        np.save(folder / "trak.shared.npy", self._rng.integers(0, 20, (self._audited, 2), dtype=np.uint8))
        columns = {
            f"{method}.{part}": self._rng.normal(size=self._train).astype(np.float32)
            for method in METHODS
            for part in ("mean", "right", "wrong")
        }
        pq.write_table(pa.table({**self._own(), **columns}), folder / "train.parquet", compression="zstd")

    def _ends(self, rows: int, width: int) -> NDArray[np.float32]:
        half = np.sort(self._rng.random((rows, width), dtype=np.float32), axis=1)[:, ::-1]
        return np.concatenate([half, -half[:, ::-1]], axis=1)

    def _own(self) -> dict[str, NDArray[Any]]:
        return {"row": np.arange(self._train), "label": self._label[: self._train]}

    def _write_suspects(self, folder: Path) -> None:
        n = self._train
        flags = {name: self._rng.random(n) < share for name, share in (("mislabelled", 0.02), ("leaked", 0.006))}
        copies = (self._rng.random(n) < 0.01).astype(np.int32)
        table = {
            **self._own(),
            **flags,
            "label_quality": self._rng.random(n),
            "likelier": self._rng.integers(0, CLASSES, n),
            "self_influence": self._rng.gamma(1, size=n),
            "copies": copies,
            "conflict": (copies > 0) & (self._rng.random(n) < 0.3),
        }
        pq.write_table(pa.table(table), folder / "suspects.parquet", compression="zstd")

    def _write_effects(self, folder: Path) -> None:
        ends = [
            {"group": group, "number": number, "side": side, "end": end, "row": row}
            for group, count, shown in (("component", 6, 6), ("cluster", 8, 12))
            for number in range(count)
            for side in ("train", "audited")
            for end in ("high", "low")
            for row in self._some(side, shown)
        ]
        pq.write_table(pa.Table.from_pylist(ends), folder / "ends.parquet")

    def _some(self, side: str, count: int) -> list[int]:
        first, of = (0, self._train) if side == "train" else (self._train, self._audited)
        return [int(row) for row in first + self._rng.integers(0, of, count)]

    def _answers(self, finding_id: int) -> list[Query]:
        ends = [[{"row": row, "label": 1, "score": s} for row in self._some("train", 24)] for s in (0.5, -0.5)]
        methods = [{"method": name, "asked": 500, "helpful": ends[0], "harmful": ends[1]} for name in METHODS]
        behind = {"finding_id": finding_id, "members": 500, "methods": methods}
        one = {"own": 0.4, "other": 0.1} | {
            f"{side}_{end}": self._some(side, 6) for side in ("train", "audited") for end in ("high", "low")
        }
        compared = {"other_run_id": 2, "method": "trak", "targets": 400, "of_targets": self._audited}
        compared |= {"similarity": 0.6, "low": 0.5, "high": 0.7, "own": [one] * 4, "others": [one] * 4}
        asked = (
            ("behind_slice", {"finding_id": finding_id, "rows": [1]}, behind),
            ("compare", {"other_run_id": 2}, compared),
        )
        return [
            Query(run_id=1, kind="influence", action=action, payload=payload, status="succeeded", result=result)
            for action, payload, result in asked
        ]


def _store(name: str, fill: Callable[[Path], None]) -> str:
    key = artifact_key(name, 1, benchmark="influence")
    with get_artifacts().write(key) as folder:
        fill(folder)
    return key


if __name__ == "__main__":
    main()
