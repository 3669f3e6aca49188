"""Memory and time of the slice search on memory-mapped noise, and how fast questions are answered.

`python -m benchmarks.slices_scale --rows 200000`; with `--questions` the search is left out, and a million rows are
soon asked. Nothing is planted. All answers but the first find the embeddings in the system's page cache. Memory is the
process's own (RssAnon, sampled every 20 ms): cached pages of the memory-mapped inputs belong to the system and leave
when it needs them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.audits.base import Inputs, Result, Split
from app.audits.slices import actions
from app.audits.slices.compute import find
from app.audits.slices.rows import prepare
from app.audits.slices.schema import ClimbPayload, HypothesisPayload, NeighboursPayload, Params
from app.audits.slices.similar import LENGTHS, row_lengths
from workers.stages import results

BLOCK = 20_000
WRONG = 0.15
PROMISED = {"hypothesis": 2.0, "climb": 1.0, "neighbours": 1.0}
"""Seconds in which a question over all rows is answered."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--methods", nargs="+", default=["direction", "confidence"])
    parser.add_argument("--questions", action="store_true", help="Ask without searching for slices first.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = Params(methods=args.methods, permutations=0)
        inputs = noise_inputs(folder, args.rows, args.dimension, args.classes, params)
        (folder / "slices").mkdir()
        if args.questions:
            without_slices(inputs, folder / "slices")
        else:
            results.save(searched(inputs), folder / "slices")
        show(ask(replace(inputs, earlier={"slices": folder / "slices"})))


def searched(inputs: Inputs) -> Result:
    """Search for slices, and print what that took."""
    print(f"own memory before: {own_memory():.2f} GiB")
    began, cpu = time.monotonic(), time.process_time()
    with Peak() as peak:
        result = find(inputs)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    rows = len(inputs.audited.manifest)
    print(f"find on {rows:,} rows: {cpu:.1f} s CPU, {seconds:.1f} s, own memory at most {peak.gib:.2f} GiB", end="")
    print(f"  (target 4 GiB)  {'PASS' if peak.gib < 4 else 'FAIL'}")
    return result


def without_slices(inputs: Inputs, folder: Path) -> None:
    """Write what a question reads of a search that found nothing."""
    rows = prepare(inputs)
    for name, array in {**rows.details(), LENGTHS: row_lengths(rows)}.items():
        np.save(folder / f"{name}.npy", array)
    columns = {"key": pa.string(), "rows": pa.list_(pa.int64()), "evidence": pa.string()}
    pq.write_table(pa.schema(columns).empty_table(), folder / "candidates.parquet")


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


def ask(inputs: Inputs, rounds: int = 5) -> dict[str, list[float]]:
    """Ask one question of each sort over all rows; return the seconds that each answer took, in order."""
    sentence = HypothesisPayload(sentence="at night", share=0.1)
    marks = ClimbPayload(inside=list(range(20)), outside=list(range(100, 120)))
    questions: dict[str, Callable[[], object]] = {
        "hypothesis": lambda: actions.hypothesis(inputs, sentence),
        "climb": lambda: actions.climb(inputs, marks),
        "neighbours": lambda: actions.neighbours(inputs, NeighboursPayload(position=7)),
    }
    return {name: [seconds(question) for _ in range(rounds)] for name, question in questions.items()}


def seconds(question: Callable[[], object]) -> float:
    """Wall-clock seconds of one answer."""
    began = time.perf_counter()
    question()
    return time.perf_counter() - began


def show(answers: Mapping[str, Sequence[float]]) -> None:
    """Print the first answer and the median of the later ones against what people were promised."""
    for name, times in answers.items():
        usual, target = statistics.median(times[1:]), PROMISED[name]
        verdict = "PASS" if max(usual, times[0]) < target else "FAIL"
        print(f"{name:11} first {times[0]:.2f} s, then {usual:.2f} s  (target {target:g} s)  {verdict}")


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
