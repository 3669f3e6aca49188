"""“Why this prediction” from a cached index: 50,000 training rows, k = 2,048, 10 checkpoints.

`python -m benchmarks.attribution_index [--rows N] [--threads T]` writes int8 rows to disk, maps them, and prints wall
and CPU milliseconds of the 100 most helpful and most harmful rows of one target (median of 10, files in the page
cache), the bytes of a checkpoint against N · k, and the largest difference from float64. Target: 200 ms.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from app.numerics.attribution.index import AttributionIndex, mapped_rows

WIDTH, CHECKPOINTS, TOP, REPEATS = 2048, 10, 100, 10


def written(folder: Path, rows: int) -> AttributionIndex:
    """An index of random codes, in files as a run leaves them."""
    random = np.random.default_rng(0)
    found = []
    for c in range(CHECKPOINTS):
        codes, scales = folder / f"codes-{c}.npy", folder / f"scales-{c}.npy"
        np.save(codes, random.integers(-127, 128, (rows, WIDTH), dtype=np.int8))
        np.save(scales, random.random(rows, dtype=np.float32))
        found.append(mapped_rows(codes, scales))
        if c == 0:
            size = codes.stat().st_size + scales.stat().st_size
            print(f"store: {size:,} bytes a checkpoint, {size / (rows * WIDTH):.4f} · N · k (target 1.1)")
    return AttributionIndex(found, torch.from_numpy(random.random(rows, dtype=np.float32)))


def exactness(index: AttributionIndex, solved: torch.Tensor) -> float:
    """Largest relative difference from float64, on the first 2,000 rows."""
    total = torch.zeros(2000, dtype=torch.float64)
    for rows, query in zip(index.checkpoints, solved, strict=True):
        total += rows.codes[:2000].double() @ query.double() * rows.scales[:2000]
    expected = total * index.doubt[:2000] / len(index.checkpoints)
    return float((index.scores(solved)[:2000] - expected).abs().max() / expected.abs().max())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        index = written(Path(folder), chosen.rows)
        solved = torch.randn(CHECKPOINTS, WIDTH, generator=torch.Generator().manual_seed(0))
        error = exactness(index, solved)
        walls, cpus = [], []
        for _ in range(REPEATS):
            wall, cpu = time.perf_counter(), time.process_time()
            index.ends(solved, TOP)
            walls.append(1000 * (time.perf_counter() - wall))
            cpus.append(1000 * (time.process_time() - cpu))
    cpu, wall = statistics.median(cpus), statistics.median(walls)
    print(
        f"why: {wall:.0f} ms wall (least {min(walls):.0f}), {cpu:.0f} ms CPU, {chosen.threads} thread(s) (target 200)"
    )
    print(f"largest difference from float64: {error:.1e} of the largest score")
    print("PASS" if cpu <= 200 and error < 1e-5 else "FAIL")


if __name__ == "__main__":
    main()
