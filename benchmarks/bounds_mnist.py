"""The provably robust MNIST network of Wong and Kolter (2018), all test images, L∞ ball of radius 0.1.

`python -m benchmarks.bounds_mnist [--images 10000] [--unit 5.96e-8]` reads the network and the images from the folder
that FAULTLINE_REAL_DATA names, and prints on one thread the error, the error under PGD with 40 steps, what interval
bounds, the convex outer polytope and CROWN prove, the bracket [proven, attacked], and CPU seconds. The cheap goes
first and the dear on the undecided only: PGD on what is right, interval bounds on what PGD leaves, then CROWN, then the
convex outer polytope, and Auto-PGD on what is then undecided. Published: error 1.80 %, PGD-40 4.06 %, certified error
at most 5.8 %. A proof of an image that PGD breaks, or a bracket outside the published figures, ends the benchmark with
an error.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from app.numerics.attacks.ensemble import ensemble, standard
from app.numerics.attacks.pgd import pgd
from app.numerics.attacks.problem import Problem
from app.numerics.attacks.region import Ball
from app.numerics.bounds.interval import FLOAT32
from app.numerics.bounds.margins import METHODS, Method, margin_bounds
from app.numerics.bounds.program import Builder, Program

RADIUS, ALL = 0.1, 10_000
PUBLISHED = {"error": 1.80, "PGD-40": 4.06, "certified": 5.8}


def main() -> None:
    """Attack, prove, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=ALL)
    parser.add_argument("--unit", type=float, default=FLOAT32, help="unit roundoff of the network's arithmetic")
    parser.add_argument("--alone", type=int, default=300, help="images on which each method alone is asked")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    program, (images, labels) = network(), test_images(chosen.images)
    with torch.no_grad():
        right = torch.cat([program.forward(part) for part in images.split(500)]).argmax(1) == labels
    broken = _timed("PGD-40", partial(_attacked, program, images, labels, right))
    print(f"error under PGD-40: {100 * (1 - float((right & ~broken).sum()) / len(right)):.2f} %", flush=True)
    proven = torch.zeros_like(right)
    for method in ("ibp", "crown", "wong_kolter"):
        proven |= _proofs(program, images, labels, right & ~broken & ~proven, method, chosen.unit)
    left = right & ~broken & ~proven
    broken |= _timed(f"APGD on {int(left.sum())} undecided", partial(_searched, program, images, labels, left))
    _alone(program, images, labels, broken, chosen.unit, min(chosen.alone, len(images)))
    _verdict(right, broken, proven)


def network() -> Program:
    """The network of the folder of real data."""
    weights = load_file(_folder() / "weights" / "mnist_robust_wong_kolter.safetensors")
    builder = Builder((1, 28, 28))
    place = builder.image
    for layer in ("0", "2"):
        parts = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        place = builder.relu(builder.conv(place, *parts, stride=(2, 2), padding=(1, 1)))
    place = builder.rearrange(lambda x: x.flatten(1), place)
    place = builder.relu(builder.linear(place, weights["5.weight"], weights["5.bias"]))
    builder.linear(place, weights["7.weight"], weights["7.bias"])
    return builder.program()


def test_images(count: int) -> tuple[Tensor, Tensor]:
    """MNIST's test images, float32 [n, 1, 28, 28] in [0, 1], and their labels."""
    pixels = _idx("mnist_t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    labels = _idx("mnist_t10k-labels-idx1-ubyte.gz", 8)
    return torch.from_numpy(pixels[:count]).float() / 255, torch.from_numpy(labels[:count]).long()


def _idx(name: str, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((_folder() / name).read_bytes())[header:], np.uint8).copy()


def _folder() -> Path:
    folder = os.environ.get("FAULTLINE_REAL_DATA")
    if not folder:
        raise SystemExit("This needs FAULTLINE_REAL_DATA, the folder of real data.")
    return Path(folder)


def _attacked(program: Program, images: Tensor, labels: Tensor, right: Tensor) -> Tensor:
    broken = torch.zeros_like(right)
    for rows in right.nonzero()[:, 0].split(500):
        problem = Problem.of(program.forward, images[rows], labels[rows], Ball("Linf", RADIUS), rows, 0)
        found = pgd(problem, steps=40).images
        with torch.no_grad():
            broken[rows] = program.forward(found).argmax(1) != labels[rows]
    return broken


def _searched(program: Program, images: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
    broken, rows = torch.zeros_like(asked), asked.nonzero()[:, 0]
    attacks = standard(queries=0)[:2]
    answer = ensemble(program.forward, images[rows], labels[rows], Ball("Linf", RADIUS), attacks, keys=rows)
    broken[rows] = answer.broken_by >= 0
    return broken


def _proofs(program: Program, images: Tensor, labels: Tensor, asked: Tensor, method: Method, unit: float) -> Tensor:
    found = torch.zeros_like(asked)
    rows = asked.nonzero()[:, 0]
    bounds = _timed(
        f"{method} on {len(rows)} undecided",
        partial(margin_bounds, program, images[rows], labels[rows], RADIUS, method, unit=unit),
    )
    found[rows] = bounds > 0
    print(f"  proves {int(found.sum())}", flush=True)
    return found


def _alone(program: Program, images: Tensor, labels: Tensor, broken: Tensor, unit: float, count: int) -> None:
    print(f"each method alone on the first {count} images, and on {int(broken.sum())} that PGD breaks")
    for method in METHODS:
        asked = partial(margin_bounds, program, radius=RADIUS, method=method, unit=unit)
        bounds = _timed(method, partial(asked, images[:count], labels[:count]))
        wrong = int((asked(images[broken], labels[broken]) > 0).sum())
        print(f"  proves {int((bounds > 0).sum())} of {count}, and {wrong} of the broken", flush=True)
        if wrong:
            raise SystemExit(f"{method} proves what PGD breaks.")


def _timed(name: str, work: Callable[[], Any]) -> Any:
    began = time.process_time()
    found = work()
    print(f"{name}: {time.process_time() - began:.1f} CPU s", flush=True)
    return found


def _verdict(right: Tensor, broken: Tensor, proven: Tensor) -> None:
    count = len(right)
    error, attacked = 100 * float((~right).sum()) / count, 100 * float((~right | broken).sum()) / count
    certified = 100 * (1 - float(proven.sum()) / count)
    print(f"{count} images: error {error:.2f} %, attacked {attacked:.2f} %, not proven {certified:.2f} %")
    print(f"bracket of robust error [{attacked:.2f} %, {certified:.2f} %]; published {PUBLISHED}")
    if count == ALL and not PUBLISHED["PGD-40"] <= attacked <= certified <= PUBLISHED["certified"]:
        raise SystemExit("The bracket leaves the published figures.")


if __name__ == "__main__":
    main()
