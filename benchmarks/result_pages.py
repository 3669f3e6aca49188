"""Result pages over 100,000 and 1,000,000 examples of 1,000 classes: 95th percentile of each page, and the map's size.

nice python benchmarks/result_pages.py [--rows 1000000] [--requests 20]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi.testclient import TestClient

from app.main import serving
from app.services import accounts, queue
from app.store.artifacts import artifact_key
from app.store.models import AuditRun, Dataset, DatasetSplit, Finding, Membership, Model, ModelVersion, Project, User
from app.store.places import get_artifacts
from app.store.session import transaction
from app.web.deps import SESSION_COOKIE

CLASSES = 1_000
DIMENSIONS = 64
MAP_POINTS = 50_000
SLICES_A_CLASS = 2
PAGE_LIMIT, FILTER_LIMIT, MAP_LIMIT = 0.3, 2.0, 1_000_000


def main() -> None:
    """Build a run of synthetic rows, ask for its pages, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--home", default="", help="Folder to build in, or to measure what an earlier call built.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["FAULTLINE_HOME"] = chosen.home or fresh
        measure(chosen.rows, chosen.requests)


def measure(rows: int, requests: int) -> None:
    """Print one line a page: what it is, its 95th percentile, its size, and whether it keeps its limit."""

    queue.prepare()
    with transaction() as session:
        run = session.get(AuditRun, 1)
        run_id = run.id if run else build(session, rows)
        token = accounts.start_session(session, session.get_one(User, 1)).token
    rng = np.random.default_rng(0)
    with TestClient(serving(), headers={"Cookie": f"{SESSION_COOKIE}={token}"}) as client:
        for name, path, limit in pages(rng, rows, run_id):
            took, worked, size = [], [], 0
            client.get(path())
            for _ in range(requests):
                begun, busy = time.perf_counter(), time.process_time()
                answer = client.get(path())
                took.append(time.perf_counter() - begun)
                worked.append(time.process_time() - busy)
                assert answer.status_code == 200, (answer.status_code, answer.text[:300])
                size = len(answer.content)
            worst = float(np.quantile(took, 0.95))
            kept = "ok" if worst <= limit and (name != "map points" or size <= MAP_LIMIT) else "TOO MUCH"
            cost = f"p95 {1000 * worst:6.0f} ms  {1000 * np.median(worked):6.0f} ms of CPU  {size / 1000:7.0f} kB"
            print(f"{rows:>9,} rows  {name:<22} {cost}  {kept}")


def pages(rng: np.random.Generator, rows: int, run_id: int) -> list[tuple[str, Any, float]]:
    """Name, maker of a path, and limit in seconds of each page; each request asks for another subject."""
    base = f"/runs/{run_id}"

    def some(limit: int) -> int:
        return int(rng.integers(limit))

    return [
        ("run", lambda: base, PAGE_LIMIT),
        ("slice", lambda: f"{base}/slices/{1 + some(CLASSES * SLICES_A_CLASS)}", PAGE_LIMIT),
        ("class", lambda: f"{base}/classes/{some(CLASSES)}", PAGE_LIMIT),
        ("image", lambda: f"{base}/images/{some(rows)}", PAGE_LIMIT),
        ("slices", lambda: f"{base}/slices?page={1 + some(50)}", PAGE_LIMIT),
        ("classes", lambda: f"{base}/classes", PAGE_LIMIT),
        ("image in a list", lambda: f"{base}/images/{some(rows)}?outcome=wrong&sort=confidence", PAGE_LIMIT),
        ("filter", lambda: f"{base}/images?outcome=wrong&predicted={some(CLASSES)}&sort=confidence", FILTER_LIMIT),
        (
            "filter, deep page",
            lambda: f"{base}/images?outcome=right&sort=p_true&page={some(rows // 100)}",
            FILTER_LIMIT,
        ),
        ("map points", lambda: f"{base}/map/points.bin", FILTER_LIMIT),
        ("points of a class", lambda: f"{base}/points.bin?label={some(CLASSES)}", FILTER_LIMIT),
    ]


def build(session: Any, rows: int) -> int:
    """Store a run of random rows with its artifacts, as a finished audit leaves them; return its id."""
    rng = np.random.default_rng(1)
    names = [f"class {index:04d}" for index in range(CLASSES)]
    label = rng.integers(0, CLASSES, rows)
    wrong = rng.random(rows) < 0.2
    columns = _columns(rng, label, wrong)
    add = [User(email="a@example.org", name="A", password_hash=""), Project(name="Large")]
    session.add_all(add)
    session.flush()
    session.add(Membership(project_id=1, user_id=1, role="owner"))
    ingest = _store("ingest", lambda folder: _write_dataset(folder, rows, label))
    session.add(Dataset(project_id=1, name="L", status="succeeded", classes=names, rows=rows, artifact_key=ingest))
    session.add(Model(project_id=1, name="M"))
    session.flush()
    session.add(DatasetSplit(dataset_id=1, name="val", start=0, stop=rows))
    session.add(ModelVersion(model_id=1, number=1, status="succeeded", format="onnx"))
    session.flush()
    findings = [_finding(rng, index, number, columns) for index in range(CLASSES) for number in range(SLICES_A_CLASS)]
    run = AuditRun(
        project_id=1,
        name="Large run",
        model_version_id=1,
        dataset_id=1,
        split="val",
        kinds=["slices"],
        encoder="given",
        seed=0,
        status="succeeded",
        summary={"slices": _summary(names, label, wrong), "card": {}},
        scores_key=_store("scores", lambda folder: _write_scores(folder, columns)),
        details_keys={
            "slices:map": _store("map", lambda folder: _write_map(folder, rng, rows)),
            "embed-all": _store(
                "embed-all", lambda folder: _write_array(folder / "embeddings.npy", rng, rows, DIMENSIONS)
            ),
            "predict-all": _store(
                "predict-all", lambda folder: _write_array(folder / "logits.npy", rng, rows, CLASSES)
            ),
        },
    )
    session.add(run)
    session.flush()
    session.add_all([Finding(run_id=run.id, **finding) for finding in findings])
    return int(run.id)


def _store(name: str, fill: Any) -> str:

    key = artifact_key(name, 1, benchmark=True)
    with get_artifacts().write(key) as folder:
        fill(folder)
    return key


def _columns(rng: np.random.Generator, label: np.ndarray, wrong: np.ndarray) -> dict[str, np.ndarray]:
    n = len(label)
    confidence = rng.random(n).astype(np.float32)
    decision = (rng.normal(size=n) - wrong).astype(np.float32)
    return {
        "label": label.astype(np.int32),
        "prediction": np.where(wrong, (label + rng.integers(1, CLASSES, n)) % CLASSES, label).astype(np.int32),
        "confidence": confidence,
        "p_true": np.where(wrong, 1 - confidence, confidence).astype(np.float32),
        "correct": ~wrong,
        "decision": decision,
        "slice": np.where(decision < -1.5, rng.integers(0, SLICES_A_CLASS, n), -1),
        "confirm": rng.random(n) < 0.5,
    }


def _write_scores(folder: Path, columns: dict[str, np.ndarray]) -> None:
    n = len(columns["label"])
    slices = [
        [f"direction-{label}-{number}"] if number >= 0 else []
        for label, number in zip(columns["label"].tolist(), columns["slice"].tolist(), strict=True)
    ]
    plain = {name: columns[name] for name in ("label", "prediction", "confidence", "p_true", "correct", "decision")}
    table = pa.table(
        {
            "row": np.arange(n),
            "example_id": [f"val/{i // 1000:04d}/{i:08d}.jpg" for i in range(n)],
            "split": ["val"] * n,
            "role": np.where(columns["confirm"], "confirm", "fit"),
            **plain,
            "slices": pa.array(slices, pa.list_(pa.string())),
        }
    )
    pq.write_table(table, folder / "scores.parquet", row_group_size=65_536, compression="zstd")


def _write_dataset(folder: Path, rows: int, label: np.ndarray) -> None:
    np.save(folder / "index.npy", np.zeros((rows, 6), np.uint64))
    (folder / "packs.json").write_text("[]")
    numbers = np.arange(rows)
    ids = [f"val/{i:08d}.jpg" for i in range(rows)]
    sizes = {"width": np.full(rows, 224), "height": np.full(rows, 224)}
    table = pa.table({"row": numbers, "example_id": ids, "label": label, **sizes, "meta.site": numbers % 7})
    pq.write_table(table, folder / "manifest.parquet", row_group_size=65_536, compression="zstd")


def _write_map(folder: Path, rng: np.random.Generator, rows: int) -> None:
    points = np.sort(rng.permutation(rows)[:MAP_POINTS])
    np.save(folder / "points.npy", points)
    np.save(folder / "xy.npy", rng.normal(size=(len(points), 2)).astype(np.float32))


def _write_array(path: Path, rng: np.random.Generator, rows: int, width: int) -> None:
    """A sparse file with some rows filled: a page reads single rows, whatever they hold."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, width))
    some = rng.integers(0, rows, min(rows, 2_000))
    array[some] = rng.normal(size=(len(some), width)).astype(np.float32)


def _rate(k: int, n: int) -> dict[str, Any]:
    value = k / max(n, 1)
    return {"k": k, "n": n, "value": value, "low": max(value - 0.1, 0), "high": min(value + 0.1, 1)}


def _finding(rng: np.random.Generator, index: int, number: int, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    rows = rng.integers(0, len(columns["label"]), 48).tolist()
    top = {k: _rate(k // 2, k) for k in (20, 50, 100)}
    metrics = {
        "errors": _rate(30, 50),
        "rest": _rate(50, 400),
        "class_errors": _rate(80, 450),
        "p_value": 1e-6,
        "q_value": 1e-4,
        "prevalence": 0.1,
        "size": 100,
        "mistaken_for": [{"class_index": (index + 1) % CLASSES, "name": f"class {index + 1}", "n": 20}],
        "hard_rows": rows[:24],
        "easy_rows": rows[24:],
        "captions": [{"text": f"a photo of class {index} {i}", "z": 3.0, "facet": "", "top": top} for i in range(10)],
        "causes": [],
    }
    found = {"kind": "slices", "subject": "slice", "key": f"direction-{index}-{number}", "method": "direction"}
    evidence = "confirmed" if number == 0 else "insufficient"
    words = {"title": f"a photo of class {index} at night {number}", "evidence": evidence}
    return {**found, **words, "class_index": index, "rank": index, "metrics": metrics}


def _summary(names: list[str], label: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    n, errors = np.bincount(label, minlength=CLASSES), np.bincount(label, wrong, minlength=CLASSES)
    classes = [
        {
            "index": index,
            "name": name,
            "n": int(n[index]),
            "errors": _rate(int(errors[index]), int(n[index])),
            "fitted": True,
            "strength": 0.7,
            "strength_null_95": 0.6,
            "strength_p": 0.01,
            "slices": [f"direction-{index}-{number}" for number in range(SLICES_A_CLASS)],
        }
        for index, name in enumerate(names)
    ]
    counts = {"fit_rows": len(label) // 2, "confirm_rows": len(label) // 2, "fdr": 0.05, "min_errors": 10}
    found = {"candidates": CLASSES * SLICES_A_CLASS, "confirmed": CLASSES, "classes": classes, "methods": []}
    drawn = {"captions_available": True, "map_points": MAP_POINTS, "map_left_out": len(label) - MAP_POINTS}
    return {**counts, **found, **drawn}


if __name__ == "__main__":
    main()
