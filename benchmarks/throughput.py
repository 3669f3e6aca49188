"""What loading costs: from image files to arrays on disk or in memory, against the bare forward pass of the network.

Wall-clock and CPU time both. On a CPU with nothing else to do the two ratios agree. On a busy one the first is a
lottery, and so is the second with several threads, which burn time waiting for each other: OMP_NUM_THREADS=1 then says
what loading costs.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter

GOAL = 0.9


class Spent(NamedTuple):
    """Seconds of one pass over the images."""

    wall: float
    cpu: float


class Ratio(NamedTuple):
    """Bare forward pass to whole path, medians over rounds; 1 = loading costs nothing."""

    bare: Spent
    whole: Spent
    wall: float
    cpu: float


def photographs(count: int, width: int, height: int) -> list[bytes]:
    """Blurred noise with about as many bytes as a photograph of this size, as JPEG."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(count):
        pixels = generator.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        image = Image.fromarray(pixels).resize((width, height)).filter(ImageFilter.GaussianBlur(1))
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=85)
        files.append(stream.getvalue())
    return files


def pack(files: list[bytes], folder: Path) -> tuple[Path, Path]:
    """Lay files end to end; return the pack and its table of ends."""
    images, ranges = folder / "images.bin", folder / "offsets.npy"
    images.write_bytes(b"".join(files))
    np.save(ranges, np.cumsum([0, *map(len, files)]))
    return images, ranges


def timed(work: Callable[[], object], cpu: Callable[[], float] = time.process_time) -> Callable[[], Spent]:
    """Return `work` as a pass that says what it spent; `cpu` reads the clock of the process that works."""

    def once() -> Spent:
        before, began = cpu(), time.perf_counter()
        work()
        return Spent(time.perf_counter() - began, cpu() - before)

    return once


def compare(bare: Callable[[], Spent], whole: Callable[[], Spent], rounds: int) -> Ratio:
    """Alternate the two after one pass of each, so that a busy machine slows both; medians of the rounds."""
    bare(), whole()
    pairs = [(bare(), whole()) for _ in range(rounds)]
    alone, all_of_it = (
        Spent(*map(statistics.median, zip(*passes, strict=True))) for passes in zip(*pairs, strict=True)
    )
    ratios = ([getattr(a, clock) / max(getattr(b, clock), 1e-9) for a, b in pairs] for clock in Spent._fields)
    return Ratio(alone, all_of_it, *map(statistics.median, ratios))


def show(name: str, images: int, rounds: int, found: Ratio) -> None:
    """Print images per second of both, and their ratios."""
    print(f"{name}, {torch.get_num_threads()} threads, {rounds} rounds of {images} images")
    for path, spent in (("bare forward", found.bare), ("whole path", found.whole)):
        print(f"{path:14}{images / spent.wall:8.1f} images/s  {1e3 * spent.cpu / images:8.2f} ms CPU an image")
    for clock, ratio in (("wall", found.wall), ("CPU", found.cpu)):
        print(f"ratio {clock:8}{ratio:8.3f}  (goal {GOAL})  {'PASS' if ratio >= GOAL else 'FAIL'}")
