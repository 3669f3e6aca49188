"""A manifest of 1,000,000 rows comes in with bounded memory; and images per second, for the rate with pictures.

nice python benchmarks/ingest_scale.py [--rows 1000000] [--dimensions 32] [--images 20000]
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import resource
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from app.loaders.datasets.ingest import ingest

CLASSES = 1000
BLOCK = 50_000


def write_table(path: Path, rows: int, dimensions: int) -> None:
    """A manifest without images: id, label of 1,000, split, three columns of metadata, an embedding."""
    generator = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        vectors = generator.normal(size=n * dimensions).astype(np.float32)
        table = pa.table(
            {
                "example_id": [f"photo-{i:07d}" for i in range(start, start + n)],
                "label": [f"class {i:03d}" for i in generator.integers(0, CLASSES, n)],
                "split": generator.choice(["train", "test"], n, p=[0.8, 0.2]),
                "site": generator.choice(["north", "south", "east"], n),
                "year": generator.integers(2000, 2026, n),
                "score": generator.random(n),
                "embedding": pa.FixedSizeListArray.from_arrays(vectors, dimensions),
            }
        )
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def write_images(path: Path, count: int) -> None:
    """A tar of small JPEGs in 1,000 class folders."""
    generator = np.random.default_rng(1)
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            target = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(target, "JPEG")
            member = tarfile.TarInfo(f"train/class {number % CLASSES:03d}/{number:07d}.jpg")
            member.size = target.tell()
            archive.addfile(member, io.BytesIO(target.getvalue()))


def measure(source: Path, output: Path) -> dict[str, float]:
    """Import in a fresh process; return seconds, CPU seconds, the growth of resident memory in MiB, and rows."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (str(source), str(output)))


def _measured(source: str, output: str) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    result = ingest({"sources": [{"path": source, "name": Path(source).name}], "output": output}, lambda news: None)
    return {
        "rows": result["rows"],
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "start_mib": round(before / 1024),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def show(name: str, write: Callable[[Path], None], source: Path) -> None:
    """Make the source, import it and print the figures."""
    write(source)
    figures = measure(source, source.with_suffix(".out"))
    figures["rows_per_cpu_second"] = round(figures["rows"] / max(figures["cpu_seconds"], 0.1))
    print(name, json.dumps(figures))


def main() -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=32)
    parser.add_argument("--images", type=int, default=20_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, images = Path(folder, "rows.parquet"), Path(folder, "images.tar")
        show("a tenth of the rows", lambda path: write_table(path, wanted.rows // 10, wanted.dimensions), rows)
        rows = Path(folder, "all.parquet")
        show("all rows", lambda path: write_table(path, wanted.rows, wanted.dimensions), rows)
        show("images", lambda path: write_images(path, wanted.images), images)


if __name__ == "__main__":
    main()
