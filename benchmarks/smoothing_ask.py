"""“Certified at r?” by the anytime-valid test against a fixed 100,000 noisy copies, at the same α, in one run.

`python -m benchmarks.smoothing_ask [--network digits mnist] [--images 60] [--alpha 0.001] [--most 2000 10000]` trains a
small convolutional network on scikit-learn's digits with noise in seconds (`mnist` takes the provably robust network
and MNIST's test images from the folder that FAULTLINE_REAL_DATA names). Of each image 100,000 copies are drawn once;
the fixed procedure counts all of them, the test reads them in order until it is sure. For each radius, and for all
three at once with one α, it prints how often both say yes, what the test left open, the copies that it read, and the
ratio of forward passes, the 100 copies that choose the class included. A decided point on which the two differ ends the
benchmark with an error.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

from app.numerics.smoothing.certify import ESTIMATE, SELECT, most_frequent
from app.numerics.smoothing.copies import Copies, Task, Votes, Wanted, run_tasks
from app.numerics.smoothing.evidence import CERTIFIED, OPEN, RadiusTest
from app.numerics.smoothing.radius import certified_radius

FIRST, FIXED = 100, 100_000
SIGMA = {"digits": 0.5, "mnist": 0.25}
RADII = {"digits": (0.25, 0.5, 0.75), "mnist": (0.1, 0.25, 0.5)}
TRAINED, EPOCHS = 1200, 40


@dataclass(frozen=True)
class Case:
    """A network in evaluation mode, and images."""

    network: nn.Module
    images: Tensor


def main() -> None:
    """Draw, ask, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["digits"], choices=list(SIGMA))
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--most", nargs="+", type=int, default=[2000, 10_000, FIXED], help="then a question stays open")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    differ = 0
    for name in chosen.network:
        case, sigma = _mnist(chosen.images) if name == "mnist" else _digits(chosen.images), SIGMA[name]
        began = time.process_time()
        copies = Copies(case.network, case.images, range(len(case.images)), sigma, 0)
        hits = np.stack(run_tasks(copies, [_drawn() for _ in case.images]))
        print(f"{name}, σ = {sigma}, α = {chosen.alpha:g}, {len(hits)} images: {time.process_time() - began:.0f} CPU s")
        differ += sum(_compare(hits, RADII[name], sigma, chosen.alpha, most) for most in chosen.most)
    if differ:
        raise SystemExit(f"{differ} decided questions are answered otherwise by {FIXED:,} copies.")


def _drawn() -> Task[NDArray[np.bool_]]:
    """Whether each of 100,000 copies is taken for the class that 100 others chose."""
    first: Votes = yield Wanted(SELECT, FIRST)
    votes: Votes = yield Wanted(ESTIMATE, FIXED)
    return np.asarray(votes == most_frequent(first))


def _compare(hits: NDArray[np.bool_], radii: tuple[float, ...], sigma: float, alpha: float, most: int) -> int:
    """Print each radius by itself, then all of them at once, and return how many decided answers differ."""
    fixed = certified_radius(hits.sum(axis=1), FIXED, alpha, sigma)
    differ = 0
    print(f"  at most {most:,} copies after the first {FIRST}")
    for asked in [*((radius,) for radius in radii), radii]:
        answers = [_asked(row, asked, sigma, alpha, most) for row in hits]
        decided, passes = np.stack([answer[0] for answer in answers]), np.array([answer[1] for answer in answers])
        yes, fixed_yes, left = decided == CERTIFIED, fixed[:, None] > np.array(asked), decided == OPEN
        differ += int((yes != fixed_yes)[~left].sum())
        print(
            f"    r = {', '.join(map(str, asked))}: yes {yes.sum()}, fixed yes {fixed_yes.sum()}, open {left.sum()} of "
            f"{left.size}, decided otherwise {(yes != fixed_yes)[~left].sum()}; copies mean {passes.mean():,.0f}, "
            f"median {np.median(passes):,.0f}: {(FIRST + FIXED) / passes.mean():.0f} times fewer passes",
            flush=True,
        )
    return differ


def _asked(
    hits: NDArray[np.bool_], radii: tuple[float, ...], sigma: float, alpha: float, most: int
) -> tuple[NDArray[np.int8], int]:
    test = RadiusTest(radii, sigma, alpha, most)
    while wanted := test.wanted():
        test.tell(int(hits[test.n : test.n + wanted].sum()), wanted)
    return test.decided, FIRST + test.n


class _Small(nn.Sequential):
    """Two convolutions and two linear layers on 8 × 8 grey pixels."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip


def _digits(count: int) -> Case:
    """A network trained for a few seconds, each image with new noise every time."""
    torch.manual_seed(0)
    data = load_digits()
    images, labels = torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)
    order = torch.randperm(len(labels))
    train, test = order[:TRAINED], order[TRAINED:][:count]
    network = _Small()
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(EPOCHS):
        for rows in torch.split(train[torch.randperm(TRAINED)], 100):
            noisy = images[rows] + SIGMA["digits"] * torch.randn_like(images[rows])
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(noisy), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return Case(network.eval().requires_grad_(False), images[test])


def _mnist(count: int) -> Case:
    folder = os.environ.get("FAULTLINE_REAL_DATA")
    if not folder:
        raise SystemExit("mnist needs FAULTLINE_REAL_DATA, the folder of real data.")
    network = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    network.load_state_dict(load_file(Path(folder) / "weights" / "mnist_robust_wong_kolter.safetensors"))
    data = gzip.decompress((Path(folder) / "mnist_t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:count]
    return Case(network.eval().requires_grad_(False), torch.tensor(pixels / 255, dtype=torch.float32))


if __name__ == "__main__":
    main()
