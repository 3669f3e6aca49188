"""A whole audit of 1,000,000 rows as a user runs it: import, predictions table, run, with the memory of every process.

Claim: auditing 1,000,000 rows of 512-d embeddings peaks below 4 GiB.

    nice python -m benchmarks.audit_scale --rows 1000000 --classes 100

The real command line is called on a home of its own; the memory is what all its processes (server side and sandboxed
children) hold of their own, summed, sampled four times a second. Cached pages of memory-mapped files are not counted:
the system takes them back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BLOCK = 20_000
WRONG = 0.15
PLANTED = 0.1
TARGET_GIB = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, args.rows, args.dimension, args.classes)
        home = {"FAULTLINE_HOME": str(folder / "home")}
        step(home, "import", "datasets", "add", str(folder / "rows.parquet"), "--name", "rows", "--no-images")
        step(
            home, "predictions", "models", "add", str(folder / "predictions.parquet"), "--name", "net", "--dataset", "1"
        )
        peak = step(home, "audit", "audit", "net", "rows", "--kind", "slices", "--encoder", "given", "--split", "test")
        step(home, "export", "export", "1", "--to", str(folder / "out"))
        tell(folder / "out" / "report.json")
    print(f"audit peak {peak:.2f} GiB (target {TARGET_GIB:g})  {'PASS' if peak < TARGET_GIB else 'FAIL'}")


def write_tables(folder: Path, rows: int, dimension: int, classes: int) -> None:
    """Noise with one planted group in each class: there the model is wrong in 60 %, elsewhere in 15 %."""
    generator = np.random.default_rng(0)
    names = [f"class {i:03d}" for i in range(classes)]
    towards = generator.standard_normal((classes, dimension)).astype(np.float32)
    towards *= 4 / np.linalg.norm(towards, axis=1, keepdims=True)
    writers: dict[str, pq.ParquetWriter] = {}
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        label = generator.integers(0, classes, n)
        planted = generator.random(n) < PLANTED
        wrong = generator.random(n) < np.where(planted, 0.6, WRONG)
        embedding = generator.standard_normal((n, dimension)).astype(np.float32) + planted[:, None] * towards[label]
        ids = pa.array([f"row-{i:07d}" for i in range(start, start + n)])
        tables = {
            "rows": manifest(ids, label, names, embedding),
            "predictions": predictions(ids, np.where(wrong, (label + 1) % classes, label), names, generator),
        }
        for key, table in tables.items():
            writer = writers.get(key) or pq.ParquetWriter(folder / f"{key}.parquet", table.schema)
            writers[key] = writer
            writer.write_table(table)
    for writer in writers.values():
        writer.close()


def manifest(ids: pa.Array, label: np.ndarray, names: Sequence[str], embedding: np.ndarray) -> pa.Table:
    """A block of the data set's table."""
    dimension = embedding.shape[1]
    return pa.table(
        {
            "example_id": ids,
            "label": np.array(names)[label],
            "split": ["test"] * len(ids),
            "embedding": pa.FixedSizeListArray.from_arrays(embedding.reshape(-1), dimension),
        }
    )


def predictions(ids: pa.Array, predicted: np.ndarray, names: Sequence[str], generator: np.random.Generator) -> pa.Table:
    """A block of the model's table: the predicted class has at least half of the probability."""
    scores = generator.random((len(ids), len(names)), dtype=np.float32)
    scores *= 0.5 / scores.sum(axis=1, keepdims=True)
    scores[np.arange(len(ids)), predicted] += 0.5
    return pa.table({"example_id": ids} | {name: scores[:, i] for i, name in enumerate(names)})


def step(home: dict[str, str], title: str, *command: str) -> float:
    """Run a command of the product; print its time and the largest own memory of its processes, in GiB."""
    began = time.monotonic()
    program = str(Path(sys.executable).parent / "faultline")
    with (
        subprocess.Popen([program, *command], env=os.environ | home, stdout=subprocess.DEVNULL) as process,
        TreePeak(process.pid) as peak,
    ):
        process.wait()
    if process.returncode:
        raise SystemExit(f"{title} failed with {process.returncode}")
    print(
        f"{title:12s} {time.monotonic() - began:7.1f} s, own memory at most {peak.gib:.2f} GiB: {peak.parts}",
        flush=True,
    )
    return peak.gib


class TreePeak:
    """The largest sum of own memory over a process and its descendants while the block runs, in GiB."""

    def __init__(self, pid: int) -> None:
        self.gib, self.parts, self._pid, self._ended = 0.0, "", pid, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> TreePeak:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(0.25):
            held = sorted((own_memory(pid) for pid in tree(self._pid)), reverse=True)
            if sum(held) > self.gib:
                self.gib, self.parts = sum(held), " + ".join(f"{part:.2f}" for part in held if part > 0.01)


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def own_memory(pid: int) -> float:
    """Resident memory of a process that is not a file's, in GiB; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    _before, found, after = status.partition("RssAnon:")
    return int(after.split()[0]) / 2**20 if found else 0.0


def tell(report: Path) -> None:
    """Print what the audit found of what was planted."""
    content = json.loads(report.read_text())
    findings = content.get("findings", [])
    print(f"report: {len(findings)} findings, {sum(f.get('evidence') == 'confirmed' for f in findings)} confirmed")


if __name__ == "__main__":
    main()
