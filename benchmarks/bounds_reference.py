"""Bounds against those of other packages, on the same images, in one run on one thread.

`python -m benchmarks.bounds_reference [--images 8] [--radius 0.05]` builds convolutional networks of random weights,
and takes the provably robust MNIST network where FAULTLINE_REAL_DATA names the folder of real data. For each it prints
the largest difference between our margins (of exact arithmetic) and

- the convex outer polytope's of its authors' package `convex_adversarial` (Wong and Kolter), which was written for old
  versions of torch and is no requirement (`pip install --no-deps convex_adversarial`);
- interval bounds from the least and the largest value of every single product;
- the least margin of many images of the ball, which no bound may exceed.

A difference above 1e-4 ends the benchmark with an error.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from convex_adversarial import RobustBounds
from torch import Tensor, nn

from app.numerics.bounds.margins import Method, margin_bounds
from app.numerics.bounds.program import Builder, Program
from benchmarks.bounds_mnist import network, test_images

NEAR = 1e-4
SAMPLES = 2000


def main() -> None:
    """Bound, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--radius", type=float, default=0.05)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    worst = 0.0
    for name, net, images in _cases(chosen.images):
        program = program_of(net, tuple(images.shape[1:]))
        with torch.no_grad():
            labels = net(images).argmax(1)
        print(f"{name}: {len(images)} images, L∞ {chosen.radius}")
        worst = max(worst, _compare(net, program, images, labels, chosen.radius))
    print(f"largest difference {worst:.1e}")
    if worst > NEAR:
        raise SystemExit("The bounds are not those of the references.")


def _compare(net: nn.Sequential, program: Program, images: Tensor, labels: Tensor, radius: float) -> float:
    ours: dict[Method, Tensor] = {}
    for method in ("ibp", "wong_kolter", "crown"):
        began = time.process_time()
        ours[method] = margin_bounds(program, images, labels, radius, method, unit=0)
        print(f"  {method}: {time.process_time() - began:.2f} CPU s", flush=True)
    found = [
        _polytope(net, images, labels, radius, ours["wong_kolter"]),
        _products(net, images, labels, radius, ours["ibp"]),
    ]
    least = _sampled(program, images, labels, radius)
    for method, bound in ours.items():
        gap = float((least - bound).min())
        print(f"  {method}: least margin of {SAMPLES} images above the bound by {gap:.3f} or more")
        if bool((least < bound).any()):
            raise SystemExit(f"An image of the ball falls below {method}'s bound.")
    return max(found)


def _polytope(net: nn.Sequential, images: Tensor, labels: Tensor, radius: float, ours: Tensor) -> float:
    began = time.process_time()
    with torch.no_grad():
        theirs = -RobustBounds(net, radius, bounded_input=True)(images, labels)
    theirs = theirs.scatter(1, labels[:, None], torch.inf).amin(1)
    gap = float((ours - theirs).abs().max())
    print(f"  convex_adversarial: difference {gap:.1e}, {time.process_time() - began:.2f} CPU s", flush=True)
    return gap


@torch.no_grad()
def _products(net: nn.Sequential, images: Tensor, labels: Tensor, radius: float, ours: Tensor) -> float:
    """Interval bounds from the least and the largest value of every single product, last layer merged."""
    low, high = (images - radius).clamp_min(0).double(), (images + radius).clamp_max(1).double()
    exact = deepcopy(net).double()
    for layer in exact[:-1]:
        low, high = _signed(layer, low, high) if hasattr(layer, "weight") else (layer(low), layer(high))
    last: Any = exact[-1]
    rows = last.weight[labels][:, None] - last.weight
    least = (rows.clamp_min(0) * low[:, None] + rows.clamp_max(0) * high[:, None]).sum(2)
    least = (least + last.bias[labels][:, None] - last.bias).scatter(1, labels[:, None], torch.inf).amin(1)
    gap = float((ours - least).abs().max())
    print(f"  products: difference {gap:.1e} of interval bounds", flush=True)
    return gap


def _signed(layer: Any, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    up, down = deepcopy(layer), deepcopy(layer)
    up.weight, down.weight = nn.Parameter(layer.weight.clamp_min(0)), nn.Parameter(layer.weight.clamp_max(0))
    down.bias = None
    return up(low) + down(high), up(high) + down(low)


def _sampled(program: Program, images: Tensor, labels: Tensor, radius: float) -> Tensor:
    """The least margin of random images and corners of each ball, in double precision."""
    generator = torch.Generator().manual_seed(0)
    least = torch.full((len(images),), torch.inf, dtype=torch.float64)
    for place in range(SAMPLES // 50):
        noise = 2 * torch.rand(50, *images.shape, generator=generator, dtype=torch.float64) - 1
        noise = noise.sign() if place % 2 else noise
        logits = program.forward((images + radius * noise).clamp(0, 1).flatten(0, 1)).view(50, len(images), -1)
        own = labels.expand(50, -1)[:, :, None]
        margins = logits.gather(2, own)[:, :, 0] - logits.scatter(2, own, -torch.inf).amax(2)
        least = torch.minimum(least, margins.amin(0))
    return least


def _cases(count: int) -> Iterator[tuple[str, nn.Sequential, Tensor]]:
    for seed in range(3):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 4, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(72, 20), nn.ReLU(), nn.Linear(20, 6),
        )  # fmt: skip
        yield f"random convolutional network {seed}", net.eval().requires_grad_(False), torch.rand(count, 1, 12, 12)
    if os.environ.get("FAULTLINE_REAL_DATA"):
        yield "MNIST, provably robust", _sequential(network()), test_images(count)[0]


def program_of(net: nn.Sequential, shape: tuple[int, ...]) -> Program:
    """A sequential network of convolutions, ReLUs, flatten and linear layers as a program."""
    builder = Builder(shape)
    place = builder.image
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            how = {"stride": layer.stride, "padding": layer.padding}
            place = builder.conv(place, layer.weight, layer.bias, **how)  # type: ignore[arg-type]
        elif isinstance(layer, nn.Linear):
            place = builder.linear(place, layer.weight, layer.bias)
        elif isinstance(layer, nn.ReLU):
            place = builder.relu(place)
        else:
            place = builder.rearrange(lambda x: x.flatten(1), place)
    return builder.program()


def _sequential(program: Program) -> nn.Sequential:
    """The MNIST network as its authors' package takes it."""
    net = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    operations: list[Any] = [step.op for step in program.steps if hasattr(step.op, "weight")]
    layers: list[Any] = [layer for layer in net if hasattr(layer, "weight")]
    for layer, operation in zip(layers, operations, strict=True):
        layer.weight.data, layer.bias.data = operation.weight.float(), operation.bias.float()
    return net.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
