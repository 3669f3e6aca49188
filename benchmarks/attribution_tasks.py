"""Tasks on which attribution is measured, and their ground truth: networks retrained on random subsets.

`python -m benchmarks.attribution_tasks [task …]` trains what is missing of every truth and prints its cost; the other
attribution benchmarks call the same functions. Everything is kept under build/attribution, in pieces of 16
networks, so a run that was stopped goes on where it was. CPU seconds are process time.

digits-cnn, digits-mlp: scikit-learn's digits, 1,200 for training, 300 targets. cifar-cnn: 1,000 training images and
200 targets of CIFAR-10, from the folder that FAULTLINE_REAL_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from app.numerics.attribution.datamodel import subset_masks
from app.numerics.attribution.outputs import margin

KEPT = Path("build/attribution")
_PIECE = 16


@dataclass(frozen=True)
class Data:
    """Training rows and targets; images float32, labels int64."""

    train: Tensor
    labels: Tensor
    targets: Tensor
    target_labels: Tensor


@dataclass(frozen=True)
class Task:
    """A network, its data, and how it is trained: SGD with momentum .9 and a one-cycle rate."""

    name: str
    data: Callable[[], Data]
    network: Callable[[], nn.Module]
    rate: float
    decay: float
    epochs: int
    batch: int = 64
    subsets: int = 64
    repeats: int = 3

    @property
    def folder(self) -> Path:
        """Where truth and checkpoints of exactly this recipe are kept."""
        return KEPT / f"{self.name}-{self.rate:g}-{self.decay:g}-{self.epochs}-{self.batch}"


def digits_cnn() -> nn.Module:
    """38,282 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def digits_mlp() -> nn.Module:
    """17,226 parameters."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    )


def cifar_cnn() -> nn.Module:
    """11,162 parameters; every convolution has stride 2, so that a truth takes minutes."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)),
    )


@cache
def digits() -> Data:
    """Scikit-learn's digits in a fixed random order, [n, 1, 8, 8] in [0, 1]."""
    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(found.images[:, None] / 16, dtype=torch.float32)[order]
    y = torch.tensor(found.target)[order]
    return Data(x[:1200], y[:1200], x[1200:1500], y[1200:1500])


@cache
def cifar() -> Data:
    """The first 1,000 training images and 200 test images with exact pixels, [n, 3, 32, 32], normalised."""
    folder = os.environ.get("FAULTLINE_REAL_DATA")
    if not folder:
        raise SystemExit("cifar-cnn needs FAULTLINE_REAL_DATA, the folder of real data.")
    with np.load(Path(folder) / "cifar10_exact_pixels.npz", allow_pickle=False) as found:
        train, targets = found["train_pixels"][:1000], found["test_pixels"][:200]
        index, target_labels = found["train_index"][:1000], found["test_labels"][:200]
    with np.load(Path(folder) / "cifar10_train_jpeg.npz", allow_pickle=False) as found:
        labels = found["labels"][index]
    own, other = (torch.from_numpy(side.astype(np.int64)) for side in (labels, target_labels))
    return Data(_normal(train), own, _normal(targets), other)


def _normal(pixels: np.ndarray) -> Tensor:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    shift, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((images - shift[:, None, None]) / spread[:, None, None]).contiguous()


TASKS = {
    task.name: task
    for task in (
        Task("digits-cnn", digits, digits_cnn, rate=0.05, decay=1e-2, epochs=30, repeats=5),
        Task("digits-mlp", digits, digits_mlp, rate=0.1, decay=5e-3, epochs=15),
        Task("cifar-cnn", cifar, cifar_cnn, rate=0.1, decay=5e-3, epochs=12),
    )
}


def train(task: Task, rows: Tensor, seed: int) -> nn.Module:
    """Train on the rows (int64 places); the seed decides the start and the order."""
    torch.manual_seed(seed)
    data = task.data()
    network = task.network().to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), lr=task.rate, momentum=0.9, weight_decay=task.decay)
    steps = task.epochs * -(-len(rows) // task.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, task.rate, total_steps=steps, pct_start=0.2)
    for _ in range(task.epochs):
        for batch in rows[torch.randperm(len(rows))].split(task.batch):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(data.train[batch]), data.labels[batch]).backward()
            optimiser.step()
            schedule.step()
    return network.eval().to(memory_format=torch.contiguous_format)


def outputs(task: Task, network: nn.Module) -> Tensor:
    """Margins [m] of the targets."""
    with torch.no_grad():
        return margin(network(task.data().targets), task.data().target_labels)


def truth(task: Task, subsets: int = 0, repeats: int = 0) -> tuple[Tensor, Tensor]:
    """Half subsets bool [M, N] and margins [R, M, m] of networks trained on them, R seeds each."""
    subsets, repeats = subsets or task.subsets, repeats or task.repeats
    masks = half_subsets(task, subsets, seed=1)
    found = [_retrained(task, f"truth-{r}", masks, 1_000_000 * (r + 1)) for r in range(repeats)]
    return masks, torch.stack(found)


def datamodel_outputs(task: Task, models: int) -> tuple[Tensor, Tensor]:
    """Half subsets bool [M, N], others than those of the truth, and the margins [M, m] of one network each."""
    masks = half_subsets(task, models, seed=2)
    return masks, _retrained(task, "datamodel", masks, 50_000_000)


def half_subsets(task: Task, count: int, seed: int) -> Tensor:
    """Random halves in pieces, so that the first of many are the same as few."""
    pieces = [
        subset_masks(_PIECE, len(task.data().train), 0.5, torch.Generator().manual_seed(1000 * seed + piece))
        for piece in range(-(-count // _PIECE))
    ]
    return torch.cat(pieces)[:count]


def checkpoints(task: Task, count: int) -> list[nn.Module]:
    """Networks trained on all rows, with different seeds."""
    return [_checkpoint(task, seed) for seed in range(count)]


def _checkpoint(task: Task, seed: int) -> nn.Module:
    file = task.folder / f"checkpoint-{seed}.npz"
    if not file.exists():
        began = time.process_time()
        network = train(task, torch.arange(len(task.data().train)), 90_000_000 + seed)
        state = {name: value.numpy() for name, value in network.state_dict().items()}
        _keep(file, began, **state)
    network = task.network()
    with np.load(file, allow_pickle=False) as found:
        network.load_state_dict({n: torch.from_numpy(found[n]) for n in found.files if n != "seconds"})
    return network.eval()


def _retrained(task: Task, kind: str, masks: Tensor, seed: int) -> Tensor:
    parts = []
    for piece, some in enumerate(masks.split(_PIECE)):
        file = task.folder / f"{kind}-{piece}-{len(some)}.npz"
        if not file.exists():
            began = time.process_time()
            seeds = range(seed + _PIECE * piece, seed + _PIECE * piece + len(some))
            rows = [outputs(task, train(task, mask.nonzero()[:, 0], s)) for mask, s in zip(some, seeds, strict=True)]
            _keep(file, began, outputs=torch.stack(rows).numpy())
            print(f"{task.name}: {file.name} in {time.process_time() - began:.0f} CPU s", flush=True)
        with np.load(file, allow_pickle=False) as found:
            parts.append(torch.from_numpy(found["outputs"]))
    return torch.cat(parts)


def _keep(file: Path, began: float, **arrays: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part.npz")
    np.savez(partial, seconds=np.float64(time.process_time() - began), **arrays)
    partial.rename(file)


def cost(task: Task, kind: str) -> float:
    """CPU seconds that what is kept of a kind (truth, checkpoint, datamodel) took to train."""
    total = 0.0
    for file in task.folder.glob(f"{kind}-*.npz"):
        with np.load(file, allow_pickle=False) as found:
            total += float(found["seconds"])
    return total


def main() -> None:
    """Train what is missing and print the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--checkpoints", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=0, help="seeds for each subset; 0: the task's own number")
    parser.add_argument("--datamodels", type=int, default=0, help="further subset networks of the first task")
    chosen = parser.parse_args()
    for name in chosen.tasks:
        task = TASKS[name]
        checkpoints(task, chosen.checkpoints)
        masks, found = truth(task, repeats=chosen.repeats)
        kinds = {kind: round(cost(task, kind)) for kind in ("truth", "checkpoint")}
        print(f"{name}: truth {len(masks)} × {len(found)}, CPU seconds {json.dumps(kinds)}", flush=True)
    if chosen.datamodels:
        task = TASKS[chosen.tasks[0]]
        datamodel_outputs(task, chosen.datamodels)
        print(f"{task.name}: {chosen.datamodels} subset networks, {cost(task, 'datamodel'):.0f} CPU s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
