"""What the stages of the kind `influence` leave behind, for the finished run of the tests of pages."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.store.artifacts import artifact_key
from app.store.models import AuditRun
from app.store.places import get_artifacts
from app.store.session import transaction
from tests.results_fixture import TRAIN_ROWS
from tests.results_rows import CLASSES
from tests.web.conftest import Results

N, TOP = TRAIN_ROWS, 5
NAMED = [70, 3, 12]
SHARED = {TRAIN_ROWS + 7: (15, 9), TRAIN_ROWS + 8: (1, 0), TRAIN_ROWS + 9: (0, 12)}
"""Images that both halves name, for the audited images that a test looks at; all others share 15 and 9."""
METHODS = [{"method": "trak"}, {"method": "similarity"}, {"method": "tracin", "reason": "This model hides its layer."}]
SUMMARY = {
    "train_rows": N, "targets": 720, "mistakes": 88, "checkpoints": 2, "coverage": 0.98, "ridge": 1.0,
    "methods": METHODS,
    "stability": {"halves": "checkpoints", "compared": 20, "chance": 0.4, "noise": 2, "targets": 720,
                  "helpful": {"mean": 12.3, "low": 11.9, "high": 12.7, "noisy": 12},
                  "harmful": {"mean": 8.1, "low": 7.5, "high": 8.7, "noisy": 40}},
    "suspects": {"mislabelled": 3, "leaked": 1, "duplicated": 2, "planted": 10, "planted_in_worst": 8,
                 "planted_named": 7, "planted_low": 0.397, "planted_high": 0.892},
    "effects": {"method": "trak", "targets": 400, "of_targets": 720, "shares": [0.5, 0.25],
                "clusters": [{"n": 80, "labels": [[0, 60], [1, 20]]}]},
}  # fmt: skip


def add_influence(results: Results) -> None:
    """Give the finished run a result of the kind `influence`."""
    with transaction() as session:
        run = session.get_one(AuditRun, results.built.run_id)
        run.kinds = ["slices", "influence"]
        run.summary = {**run.summary, "influence": SUMMARY}
        made = {
            "influence:attribute": attribute(results),
            "influence:suspects": suspects(results),
            "influence:effects": effects(),
        }
        run.details_keys = {**run.details_keys, **made}


def attribute(results: Results) -> str:
    n = len(results.built.rows.label)
    rows = np.tile(np.arange(2 * TOP, dtype=np.int32), (n, 1))
    scores = np.tile(np.array([5, 4, 3, 2, 1, -1, -2, -3, -4, -5], np.float32), (n, 1))
    shared = np.tile(np.array([15, 9], np.uint8), (n, 1))
    for row, counts in SHARED.items():
        shared[row - TRAIN_ROWS] = counts
    key = artifact_key("attribute", 1, test="web")
    with get_artifacts().write(key) as folder:
        np.save(folder / "trak.shared.npy", shared)
        for method in ("trak", "similarity"):
            np.save(folder / f"{method}.rows.npy", rows)
            np.save(folder / f"{method}.scores.npy", scores / (1 if method == "trak" else 10))
            np.save(folder / f"{method}.felt.npy", np.tile(np.array([3, 1, 2, 4], np.int32), (N, 1)))
            np.save(folder / f"{method}.felt_scores.npy", np.tile(np.array([2, 0, -1, -3], np.float32), (N, 1)))
        score = np.linspace(-1, 1, N).astype(np.float32)
        columns = {
            f"{method}.{part}": score for method in ("trak", "similarity") for part in ("mean", "right", "wrong")
        }
        columns |= {f"{method}.wrong_half": np.full(N, 0.05, np.float32) for method in ("trak", "similarity")}
        pq.write_table(pa.table({"row": np.arange(N), "label": labels(results), **columns}), folder / "train.parquet")
    return key


def effects() -> str:
    ends = [
        {"group": group, "number": 0, "side": side, "end": end, "row": row + (TRAIN_ROWS if side == "audited" else 0)}
        for group in ("component", "cluster")
        for side in ("train", "audited")
        for end, row in (("high", 3), ("low", 6))
    ]
    key = artifact_key("effects", 1, test="web")
    with get_artifacts().write(key) as folder:
        pq.write_table(pa.Table.from_pylist(ends), folder / "ends.parquet")
    return key


def labels(results: Results) -> np.ndarray:
    return results.built.rows.label[:N].astype(np.int32)


def suspects(results: Results) -> str:
    own = labels(results)
    flag = {name: np.zeros(N, bool) for name in ("mislabelled", "conflict", "leaked")}
    flag["mislabelled"][NAMED] = True
    flag["leaked"][5] = flag["conflict"][[8, 9]] = True
    quality, copies = np.ones(N), np.zeros(N, np.int32)
    quality[NAMED] = [0.01, 0.02, 0.03]
    copies[[8, 9]] = 1
    key = artifact_key("suspects", 1, test="web")
    table = {
        "row": np.arange(N), "label": own, "label_quality": quality, "likelier": (own + 1) % len(CLASSES),
        "copies": copies,
        "self_influence": np.arange(N, dtype=np.float32), **flag,
    }  # fmt: skip
    with get_artifacts().write(key) as folder:
        pq.write_table(pa.table(table), folder / "suspects.parquet")
    return key
