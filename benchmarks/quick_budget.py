"""The quick budget of every stress test on a small CNN and 1,000 images, through the whole chain of the product.

`python -m benchmarks.quick_budget [--kinds attacks,corruptions]` trains a network of two convolutions on part of the
handwritten digits that scikit-learn brings (28 × 28 pixels), imports the other 1,000 as a data set and 300 turned and
dimmed ones as a second, checks the network in the sandbox, and audits it: prediction and slices first, then each of
the stress tests as a run of its own, which takes predictions from the store. Of each it prints the headline, what its
budget leaves out, and CPU seconds: of this process and of the sandboxed child, one warm child for all. Set-up is told
apart: training, imports, the child's start and check of the network, prediction and slices. One thread; more than 60
CPU seconds of the stress tests together, or a stress test without a figure, end the benchmark with an error.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

from app import audits
from app.loaders.models.layers import build_layers
from app.services import accounts, queue
from app.services.import_dataset import DatasetRequest, import_dataset
from app.services.local_files import keep_file, note_files
from app.services.register_model import ModelRequest, register_model, stored
from app.services.request_audit import RunRequest, request_audit
from app.store.models import AuditRun, Project, User
from app.store.session import reading, transaction
from app.web.reader import LiveReader
from app.web.robustness import TestLine, scorecard
from workers import warm
from workers.testing import Twin

LIMIT = 60.0
IMAGES, SECOND, SIDE = 1_000, 300, 28
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LAYERS = [
    {"conv2d": {"in_channels": 1, "out_channels": 16, "kernel_size": 4, "stride": 2, "padding": 1}},
    {"relu": {}},
    {"conv2d": {"in_channels": 16, "out_channels": 32, "kernel_size": 4, "stride": 2, "padding": 1}},
    {"relu": {}},
    {"flatten": {}},
    {"linear": {"in_features": 1568, "out_features": 100}},
    {"relu": {}},
    {"linear": {"in_features": 100, "out_features": 10}},
]
"""The small CNN of Wong and Kolter (2018)."""
EPOCHS, RATE = 20, 2e-3


class Pictures(NamedTuple):
    """Digits as pictures of one set."""

    pixels: NDArray[np.uint8]
    """[n, side, side]."""
    labels: NDArray[np.int64]


class Place(NamedTuple):
    """Ids of what the audits are made of."""

    project: int
    user: int
    dataset: int
    second: int
    version: int


def main() -> None:
    """Set up, run every stress test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stress = sorted(name for name, kind in audits.kinds().items() if kind.stress_test)
    parser.add_argument("--kinds", default=",".join(stress), help="stress tests, separated by commas")
    parser.add_argument("--images", type=int, default=IMAGES)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"FAULTLINE_HOME": home, "FAULTLINE_DEVICE": "cpu"}
        worst = measure(Path(home), chosen.kinds.split(","), chosen.images)
    sys.exit(0 if worst else 1)


def measure(home: Path, kinds: Sequence[str], images: int) -> bool:
    """Print a line for each part; return whether all have a figure and keep the limit together."""
    twin, spent, good = Twin(), 0.0, True
    with clock() as taken:
        place = set_up(home, twin, images)
        audit(twin, place, "slices", {"permutations": 20})
    print(f"set-up: {taken[0]:.1f} CPU s (training, imports, the child's start and check, prediction, slices)")
    for kind in kinds:
        with clock() as taken:
            run_id = audit(twin, place, kind, {"second": f"{place.second}/test"} if kind == "shift" else {})
        spent += taken[0]
        for line in lines_of(run_id):
            print_line(line, taken)
            good &= line.estimate is not None
    warm._drop_child()
    print(f"all {len(kinds)} together: {spent:.1f} CPU s, at most {LIMIT:.0f}")
    return good and spent <= LIMIT


def print_line(line: TestLine, taken: list[float]) -> None:
    """Print a stress test's figure and what it cost."""
    found = line.estimate
    figure = "no figure" if found is None else f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%}, n {found.n:,})"
    print(f"{line.kind:<13}{taken[0]:>6.1f} CPU s {taken[1]:>6.1f} s  {figure} {line.text}")
    print(f"{'':<15}leaves out: {line.leaves_out or 'nothing'}")
    if line.doubt:
        print(f"{'':<15}doubt: {line.doubt}")


def set_up(home: Path, twin: Twin, images: int) -> Place:
    """Train the network; import both data sets and the network as a person would."""
    train, audited, second = digits(images)
    weights = home / "small-cnn.safetensors"
    save_file(trained(train).state_dict(), weights)
    (home / "digits.zip").write_bytes(folders(audited, "val"))
    (home / "turned.zip").write_bytes(folders(changed(second), "test"))
    queue.prepare()
    with transaction() as session:
        made = Project(name="Quick budgets")
        session.add(made)
        user = accounts.create_owner(session, email="ada@example.org", name="Ada", password="a long one", project="p")
        project, owner = made.id, user.id
    first, other = (_imported(twin, project, owner, home / f"{name}.zip") for name in ("digits", "turned"))
    request = ModelRequest(
        name="Small CNN", architecture=json.dumps(LAYERS), classes=NAMES, outputs="logits",
        preprocessing={
            "size": [SIDE, SIDE], "resize": "none", "crop": "none", "channels": 1, "mean": [0.0], "std": [1.0],
        },
    )  # fmt: skip
    kept = keep_file(weights)
    with transaction() as session:
        files = note_files(session, project, session.get_one(User, owner), [kept])
        version = register_model(session, project, session.get_one(User, owner), request, stored(files)).id
    twin.run_workflow("check_model", version)
    return Place(project, owner, first, other, version)


def audit(twin: Twin, place: Place, kind: str, params: dict[str, object]) -> int:
    """Run an audit of one kind with its quick budget; return its id."""
    own = params | ({"budget": "quick"} if "budget" in audits.kind(kind).params.model_fields else {})
    request = RunRequest(
        model_version_id=place.version, dataset_id=place.dataset, split="val", kinds=[kind], params={kind: own},
        encoder="penultimate", seed=0,
    )  # fmt: skip
    with transaction() as session:
        run_id = request_audit(session, place.project, session.get_one(User, place.user), request).id
    twin.run_workflow("audit_run", run_id)
    with reading() as session:
        done = session.get_one(AuditRun, run_id)
        if done.status != "succeeded":
            raise SystemExit(f"{kind}: {done.status} {done.error}")
    return run_id


def lines_of(run_id: int) -> list[TestLine]:
    """What a run's stress tests come to."""
    with reading() as session:
        run = session.get_one(AuditRun, run_id)
        found = scorecard(LiveReader(session, run), run.kinds)
    return found.lines if found else []


def digits(images: int) -> tuple[Pictures, Pictures, Pictures]:
    """Digits to train on, to audit and as a second set, drawn at random; no picture is in two of them."""
    given = load_digits()
    order = np.random.default_rng(0).permutation(len(given.images))
    pixels = np.stack([_enlarged(given.images[i]) for i in order])
    labels = given.target[order].astype(np.int64)
    ends = np.cumsum([images, SECOND])
    parts = [Pictures(p, y) for p, y in zip(np.split(pixels, ends), np.split(labels, ends), strict=True)]
    return parts[2], parts[0], parts[1]


def trained(given: Pictures) -> nn.Module:
    """The network after a few passes over turned and shifted copies."""
    torch.manual_seed(0)
    network = build_layers(LAYERS)
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    generator = np.random.default_rng(1)
    for _ in range(EPOCHS):
        order = generator.permutation(len(given.labels))
        for batch in np.array_split(order, max(len(order) // 64, 1)):
            pixels = np.stack([_moved(given.pixels[i], generator) for i in batch])
            loss = nn.functional.cross_entropy(
                network(torch.from_numpy(pixels).float()[:, None] / 255), torch.from_numpy(given.labels[batch])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def changed(given: Pictures) -> Pictures:
    """The same digits turned by 15 degrees and dimmed."""
    turned = [np.asarray(Image.fromarray(p).rotate(15, Image.Resampling.BILINEAR)) for p in given.pixels]
    return Pictures((np.stack(turned) * 0.7).astype(np.uint8), given.labels)


def folders(given: Pictures, split: str) -> bytes:
    """A zip of PNG files in a folder for each class."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number, (pixels, label) in enumerate(zip(given.pixels, given.labels, strict=True)):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            archive.writestr(f"{split}/{NAMES[label]}/{number:04d}.png", file.getvalue())
    return target.getvalue()


@contextmanager
def clock() -> Iterator[list[float]]:
    """Yield a list that holds CPU seconds and wall seconds once the block is left."""
    taken: list[float] = []
    processor, wall = cpu_seconds(), time.monotonic()
    yield taken
    taken += [cpu_seconds() - processor, time.monotonic() - wall]


def cpu_seconds() -> float:
    """CPU seconds of this process and of all its descendants, those that have ended included."""
    parents = {int(path.name): _stat(path) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, stat in parents.items() if stat and int(stat[1]) in found}
        grown, found = not more <= found, found | more
    ticks = sum(sum(map(int, stat[11:15])) for pid in found if (stat := parents.get(pid)))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(path: Path) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name; none where the process has just ended."""
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _imported(twin: Twin, project: int, user: int, path: Path) -> int:
    kept = [keep_file(path)]
    with transaction() as session:
        person = session.get_one(User, user)
        files = note_files(session, project, person, kept)
        dataset = import_dataset(session, project, person, DatasetRequest(name=path.stem), files).id
    twin.run_workflow("import_dataset", dataset)
    return dataset


def _enlarged(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    small = Image.fromarray((image * 255 / 16).astype(np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _moved(pixels: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    shift = tuple(int(step) for step in generator.integers(-2, 3, 2))
    turned = Image.fromarray(pixels).rotate(float(generator.uniform(-8, 8)), Image.Resampling.BILINEAR, translate=shift)
    return np.asarray(turned)


if __name__ == "__main__":
    main()
