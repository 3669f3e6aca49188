"""Memory and time of the slice search on memory-mapped noise, and how fast questions are answered.

`python -m benchmarks.slices_scale --rows 200000`; nothing is planted. Memory is the process's own (RssAnon, sampled
every 20 ms): cached pages of the memory-mapped inputs belong to the system and leave when it needs them.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from app.audits.base import Inputs, Split
from app.audits.slices import actions
from app.audits.slices.compute import find
from app.audits.slices.schema import ClimbPayload, HypothesisPayload, Params
from workers.stages import results

BLOCK = 20_000
WRONG = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--methods", nargs="+", default=["direction", "confidence"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = Params(methods=args.methods, permutations=0)
        inputs = noise_inputs(folder, args.rows, args.dimension, args.classes, params)
        print(f"own memory before: {own_memory():.2f} GiB")
        began, cpu = time.monotonic(), time.process_time()
        with Peak() as peak:
            result = find(inputs)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        print(
            f"find on {args.rows:,} rows: {cpu:.1f} s CPU, {seconds:.1f} s, own memory at most {peak.gib:.2f} GiB",
            end="",
        )
        print(f"  (target 4 GiB)  {'PASS' if peak.gib < 4 else 'FAIL'}")
        (folder / "slices").mkdir()
        results.save(result, folder / "slices")
        ask(replace(inputs, earlier={"slices": folder / "slices"}))


def noise_inputs(folder: Path, rows: int, dimension: int, classes: int, params: Params) -> Inputs:
    """Write noise block by block; a row is wrong by chance."""
    generator = np.random.default_rng(0)
    embeddings = np.lib.format.open_memmap(folder / "e.npy", mode="w+", dtype=np.float32, shape=(rows, dimension))
    logits = np.lib.format.open_memmap(folder / "l.npy", mode="w+", dtype=np.float32, shape=(rows, classes))
    labels = np.arange(rows) % classes
    for start in range(0, rows, BLOCK):
        part = labels[start : start + BLOCK]
        embeddings[start : start + BLOCK] = generator.standard_normal((len(part), dimension), dtype=np.float32)
        predicted = np.where(generator.random(len(part)) < WRONG, (part + 1) % classes, part)
        logits[np.arange(start, start + len(part)), predicted] = 8
    embeddings.flush()
    logits.flush()
    manifest = pa.table({"row": np.arange(rows), "label": labels.astype(np.int32)})
    mapped = (np.load(folder / name, mmap_mode="r") for name in ("e.npy", "l.npy"))
    split = Split("test", manifest, *mapped, None)
    names = [f"class {i}" for i in range(classes)]

    def encode(sentences: Sequence[str]) -> np.ndarray:
        return np.random.default_rng(len(sentences)).normal(size=(len(sentences), dimension)).astype(np.float32)

    return Inputs(split, None, names, params, 0, "cpu", encode, {}, lambda _share, _message: None)


def ask(inputs: Inputs) -> None:
    """Time one question of each sort over all rows."""
    sentence = HypothesisPayload(sentence="at night", share=0.1)
    marks = ClimbPayload(inside=list(range(20)), outside=list(range(100, 120)))
    for name, question, payload in (
        ("hypothesis", actions.hypothesis, sentence),
        ("climb", actions.climb, marks),
    ):
        began, cpu = time.monotonic(), time.process_time()
        question(inputs, payload)  # type: ignore[operator]
        print(f"{name}: {time.process_time() - cpu:.2f} s CPU, {time.monotonic() - began:.2f} s")


class Peak:
    """The largest own memory while the block runs, in GiB."""

    def __enter__(self) -> Peak:
        self.gib, self._ended = own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(0.02):
            self.gib = max(self.gib, own_memory())


def own_memory() -> float:
    """Resident memory of this process that is not a file's, in GiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 2**20


if __name__ == "__main__":
    main()
