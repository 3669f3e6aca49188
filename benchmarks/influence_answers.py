"""What the kind `influence` costs a worker at 50,000 training images, k = 2,048 and 10 checkpoints.

`python -m benchmarks.influence_answers [--train 50000] [--targets 512] [--checkpoints 10]` maps random features from
disk and prints wall and CPU milliseconds of TRAK's answer and of all methods' answers to “which training images are
behind this image, or this slice of 500” (median of 5 warm ones, and the first; target of TRAK's: 200 ms of CPU for one
image), then the stage `attribute`: its CPU time whatever the targets and for each of them, what that makes for 10,000,
and the most memory that it held of its own (target 2 GB).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from app.audits.base import Inputs, Split
from app.audits.influence.compute import attribute
from app.audits.influence.group import behind_slice, trak_mean
from app.audits.influence.group_schema import GroupPayload
from app.audits.influence.schema import Params

WIDTH, CLASSES, HIDDEN = 2048, 100, 512
MEMBERS, REPEATS, ASKED = 500, 5, 10_000
ANSWER_LIMIT, MEMORY_LIMIT = 200.0, 2.0


def main() -> None:
    """Plant, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--targets", type=int, default=512)
    parser.add_argument("--checkpoints", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        inputs = planted(Path(folder), chosen.train, max(chosen.targets, MEMBERS), chosen.checkpoints)
        answers(inputs)
        computed(inputs, chosen.targets)


def planted(folder: Path, train: int, audited: int, checkpoints: int) -> Inputs:
    """A run of random features, in files as its stages leave them."""
    rng = np.random.default_rng(0)
    for c in range(checkpoints):
        np.save(folder / f"spectrum.values-{c}.npy", np.sort(rng.gamma(0.5, size=WIDTH))[::-1].copy())
        np.save(folder / f"spectrum.vectors-{c}.npy", rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) / WIDTH**0.5)
    np.save(folder / "spectrum.ridge.npy", np.array(3.0))
    splits = [_split(folder, rng, name, rows, checkpoints) for name, rows in (("train", train), ("audited", audited))]
    return Inputs(
        audited=splits[1],
        train=splits[0],
        classes=[str(i) for i in range(CLASSES)],
        params=Params(),
        seed=0,
        device="cpu",
        encode_text=None,
        earlier={"attribute": folder},
        progress=lambda _share, _message: None,
    )


def _split(folder: Path, rng: np.random.Generator, name: str, rows: int, checkpoints: int) -> Split:
    def kept(part: str, values: NDArray[np.generic]) -> NDArray[np.generic]:
        path = folder / f"{name}.{part}.npy"
        np.save(path, values)
        found: NDArray[np.generic] = np.load(path, mmap_mode="c")
        return found

    model = {}
    for c in range(checkpoints):
        model[f"gradients.codes-{c}"] = kept(f"codes-{c}", rng.integers(-127, 128, (rows, WIDTH), dtype=np.int8))
        model[f"gradients.scales-{c}"] = kept(f"scales-{c}", rng.random(rows, dtype=np.float32))
        model[f"gradients.doubt-{c}"] = kept(f"doubt-{c}", rng.random(rows, dtype=np.float32))
    model["gradients.coverage"] = np.ones(rows, np.float32)
    labels = rng.integers(0, CLASSES, rows).astype(np.int32)
    return Split(
        name=name,
        manifest=pa.table({"row": np.arange(rows), "label": labels, "group": np.arange(rows)}),
        embeddings=None,
        logits=kept("logits", rng.normal(size=(rows, CLASSES)).astype(np.float32)),
        features=kept("features", rng.normal(size=(rows, HIDDEN)).astype(np.float32)),
        model=model,
    )


def answers(inputs: Inputs) -> None:
    """Print what an answer costs."""
    assert inputs.train is not None
    train = inputs.train
    for named, members in (("one image", np.array([7])), (f"{MEMBERS} images", np.arange(MEMBERS))):
        payload = GroupPayload(rows=members.tolist(), finding_id=1)
        _print(f"TRAK behind {named}", lambda m=members: trak_mean(inputs, train, m))  # type: ignore[misc]
        _print(f"all methods behind {named}", lambda p=payload: behind_slice(inputs, p))  # type: ignore[misc]


def _print(name: str, ask: Callable[[], object]) -> None:
    walls, cpus = [], []
    for _ in range(1 + REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    cpu = statistics.median(cpus[1:])
    judged = "" if name != "TRAK behind one image" else "PASS" if cpu <= ANSWER_LIMIT else "FAIL"
    print(
        f"{name:<30} {statistics.median(walls[1:]):6.0f} ms wall {cpu:6.0f} ms CPU, the first {cpus[0]:6.0f}  {judged}",
        flush=True,
    )


def computed(inputs: Inputs, targets: int) -> None:
    """Print what the stage `attribute` costs: the least, whatever the targets, and a target more."""
    few = targets // 4
    with most_memory() as memory:
        least, all_ = (_seconds(inputs, count) for count in (few, targets))
    each = (all_ - least) / (targets - few)
    start, whole = least - few * each, least + (ASKED - few) * each
    held = (memory["most"] - memory["before"]) / 2**20
    print(
        f"attribute: {start:.0f} s of CPU whatever the targets, {1000 * each:.0f} ms for each ({few:,} and {targets:,})"
    )
    print(f"attribute: {ASKED:,} targets would take {whole / 60:.0f} minutes of CPU")
    print(f"attribute: {held:.2f} GB of its own  {'PASS' if held <= MEMORY_LIMIT else 'FAIL'}")


def _seconds(inputs: Inputs, targets: int) -> float:
    begun = time.process_time()
    attribute(_first(inputs, targets))
    return time.process_time() - begun


def _first(inputs: Inputs, targets: int) -> Inputs:
    own = inputs.audited
    assert own.logits is not None
    assert own.features is not None
    model = {name: values[:targets] for name, values in own.model.items()}
    audited = Split(
        own.name, own.manifest.slice(0, targets), None, own.logits[:targets], own.features[:targets], model=model
    )
    return Inputs(**{**vars(inputs), "audited": audited, "earlier": {}})


@contextmanager
def most_memory() -> Iterator[dict[str, int]]:
    """Memory of its own that this process held, in kB, before and at most: pages of mapped files do not count."""
    found, done = {"before": _anonymous()}, threading.Event()
    found["most"] = found["before"]

    def watch() -> None:
        while not done.wait(0.05):
            found["most"] = max(found["most"], _anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
