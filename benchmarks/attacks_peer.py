"""The ensemble of attacks against pyautoattack's standard one, point by point, in one run on one thread.

`python -m benchmarks.attacks_peer [--network digits digits-robust cifar] [--images 50] [--norm Linf L2] [--batch 250]`
trains two small convolutional networks on scikit-learn's digits in seconds, one of them on adversarial images (`cifar`
takes the CIFAR ResNet-20 and its exact test pixels from the folder that FAULTLINE_REAL_DATA names). For each network
and norm it prints both robust accuracies, the points that only one of the two breaks, each of ours replayed in
double precision and measured against ball and range of pixels, and the ratio of CPU seconds. A point that
pyautoattack breaks and ours does not ends the benchmark with an error.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pyautoattack import AutoAttack
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

from app.loaders.models.cifar_resnet import CifarResNet
from app.numerics.attacks.apgd import apgd_cross_entropy
from app.numerics.attacks.ensemble import Verdict, ensemble, standard
from app.numerics.attacks.problem import Problem
from app.numerics.attacks.region import Ball, Norm

RADII: dict[str, dict[Norm, float]] = {
    "digits": {"Linf": 0.1, "L2": 0.5},
    "digits-robust": {"Linf": 0.1, "L2": 0.5},
    "cifar": {"Linf": 1 / 255, "L2": 0.1},
}
TRAINED, EPOCHS = 1200, 25


@dataclass(frozen=True)
class Case:
    """A network in evaluation mode, and images with labels."""

    network: nn.Module
    images: Tensor
    labels: Tensor


def main() -> None:
    """Attack, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["digits", "digits-robust"], choices=list(RADII))
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--norm", nargs="+", default=["Linf"], choices=["Linf", "L2"])
    parser.add_argument("--batch", type=int, default=250)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    lost = 0
    for name in chosen.network:
        case = _cifar(chosen.images) if name == "cifar" else _digits(chosen.images, robust=name == "digits-robust")
        for norm in chosen.norm:
            lost += _compare(name, case, Ball(norm, RADII[name][norm]), chosen.batch)
    if lost:
        raise SystemExit(f"pyautoattack breaks {lost} points that ours does not.")


def _compare(name: str, case: Case, ball: Ball, batch: int) -> int:
    began = time.process_time()
    verdict = ensemble(case.network, case.images, case.labels, ball, standard(), batch_size=batch)
    ours_seconds = time.process_time() - began
    began = time.process_time()
    theirs = _peer(case, ball, batch)
    their_seconds = time.process_time() - began
    ours = verdict.broken_by != -1
    clean, n = int((verdict.broken_by != -2).sum()), len(case.labels)
    print(f"{name}, {ball.norm} {ball.radius:.4f}, {n} images, {clean} right when clean")
    print(f"  robust: ours {1 - ours.float().mean():.3f}, pyautoattack {1 - theirs.float().mean():.3f}")
    print(f"  only ours {int((ours & ~theirs).sum())}, only pyautoattack {int((theirs & ~ours).sum())}")
    print(f"  broken by {dict(sorted(Counter(verdict.broken_by.tolist()).items()))}")
    _replay(case, ball, verdict)
    print(f"  CPU seconds: ours {ours_seconds:.1f}, pyautoattack {their_seconds:.1f}", end=", ")
    print(f"ratio {ours_seconds / their_seconds:.2f}", flush=True)
    return int((theirs & ~ours).sum())


def _peer(case: Case, ball: Ball, batch: int) -> Tensor:
    attack = AutoAttack(case.network, norm=ball.norm, eps=ball.radius, version="standard", seed=0)
    attack.verbose = False
    images, _ = attack.run_standard_evaluation(case.images, case.labels, batch_size=batch)
    with torch.no_grad():
        broken: Tensor = case.network(images).argmax(1) != case.labels
    return broken


def _replay(case: Case, ball: Ball, verdict: Verdict) -> None:
    """Every broken point once more: in double precision, inside the ball and the range of pixels."""
    broken = verdict.broken_by >= 0
    images = verdict.images[broken].double()
    change = (images - case.images[broken].double()).flatten(1)
    size = change.abs().amax(1) if ball.norm == "Linf" else change.norm(dim=1)
    inside = (size <= ball.radius) & (images.flatten(1).amin(1) >= 0) & (images.flatten(1).amax(1) <= 1)
    with torch.no_grad():
        wrong = deepcopy(case.network).double()(images).argmax(1) != case.labels[broken]
    print(f"  replayed: {int((wrong & inside).sum())} of {int(broken.sum())} broken points hold")


class _Small(nn.Sequential):
    """Two convolutions and two linear layers on 8 × 8 grey pixels."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip


def _digits(count: int, *, robust: bool) -> Case:
    """A network trained for a few seconds, on adversarial images where it is to be robust."""
    torch.manual_seed(0)
    data = load_digits()
    images = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)
    labels = torch.tensor(data.target)
    order = torch.randperm(len(labels))
    train, test = order[:TRAINED], order[TRAINED:][:count]
    network = _Small()
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(EPOCHS):
        for rows in train[torch.randperm(TRAINED)].split(100):
            x, y = images[rows], labels[rows]
            if robust:
                problem = Problem.of(network, x, y, Ball("Linf", RADII["digits"]["Linf"]), rows, 0)
                x = apgd_cross_entropy(problem, steps=5).images
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
    return Case(network.eval().requires_grad_(False), images[test], labels[test])


class _Normalised(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network((x - self.mean) / self.std)
        return found


def _cifar(count: int) -> Case:
    folder = os.environ.get("FAULTLINE_REAL_DATA")
    if not folder:
        raise SystemExit("cifar needs FAULTLINE_REAL_DATA, the folder of real data.")
    network = CifarResNet(20)
    network.load_state_dict(load_file(Path(folder) / "weights" / "cifar10_resnet20.safetensors"))
    with np.load(Path(folder) / "cifar10_exact_pixels.npz") as arrays:
        pixels, labels = arrays["test_pixels"][:count], arrays["test_labels"][:count]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    model = _Normalised(network).eval().requires_grad_(False)
    return Case(model, images.contiguous(), torch.from_numpy(labels).long())


if __name__ == "__main__":
    main()
