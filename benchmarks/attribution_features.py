"""Sketched gradients of a ResNet-9 with 2.27 million parameters against traker's BasicProjector, on one CPU core.

`python -m benchmarks.attribution_features` runs each side in a process of its own and prints CPU milliseconds a
sample at k = 2,048 and batch 64, peak resident memory, and the ratio. Ours is everything from images to int8 rows;
the peer is printed as the projection alone (the claim: at least 30 times slower) and with its per-sample gradients.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from app.numerics.attribution.outputs import margin
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.sketch import GradientSketch
from app.numerics.attribution.taps import TappedNetwork

WIDTH, BATCH, REPEATS, SLICE = 2048, 64, 3, 8


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Any input that `inner` keeps the shape of."""
        return x + self.inner(x)


def block(inputs: int, outputs: int, size: int = 3, stride: int = 1, padding: int = 1) -> nn.Module:
    """Convolution, batch normalisation, ReLU."""
    filters = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return nn.Sequential(filters, nn.BatchNorm2d(outputs), nn.ReLU())


def resnet9() -> nn.Module:
    """The network of TRAK's CIFAR-10 experiments, 2,274,880 parameters."""
    return nn.Sequential(
        *(block(3, 64), block(64, 128, 5, 2, 2), Residual(nn.Sequential(block(128, 128), block(128, 128)))),
        *(block(128, 256), nn.MaxPool2d(2), Residual(nn.Sequential(block(256, 256), block(256, 256)))),
        *(block(256, 128, padding=0), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, 10, bias=False)),
    )


def prepared() -> tuple[nn.Module, Tensor, Tensor]:
    """Network, images and labels, from a fixed seed."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return resnet9().eval(), torch.randn(BATCH, 3, 32, 32), torch.arange(BATCH) % 10


def ours() -> dict[str, float]:
    """CPU ms a sample."""
    network, images, labels = prepared()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (images,), dynamic_shapes=(batch,)).run_decompositions({})
    tapped = TappedNetwork(program.module(check_guards=False), images[:1])
    sketch = GradientSketch(tapped.taps, WIDTH, seed=0)

    def run() -> None:
        for some, own in zip(images.split(SLICE), labels.split(SLICE), strict=True):
            quantise(sketch.features(tapped.factors(some, lambda logits, own=own: margin(logits, own))[1]))

    before = peak()
    return {"all": timed(run, REPEATS), "before": before, "coverage": tapped.tapped_share, "width": sketch.size}


def peer() -> dict[str, float]:
    """CPU ms a sample of traker's gradients and of its projection."""
    from trak.gradient_computers import FunctionalGradientComputer  # noqa: PLC0415 - a benchmark's extra
    from trak.modelout_functions import ImageClassificationModelOutput  # noqa: PLC0415
    from trak.projectors import BasicProjector, ProjectionType  # noqa: PLC0415

    network, images, labels = prepared()
    size = sum(p.numel() for p in network.parameters())
    computer = FunctionalGradientComputer(network, ImageClassificationModelOutput(), size, torch.float32, "cpu")
    computer.load_model_params(network)
    projector = BasicProjector(size, WIDTH, 0, ProjectionType.rademacher, "cpu")
    found: list[Any] = []
    gradients = timed(lambda: found.append(computer.compute_per_sample_grad([images, labels])), 1)
    return {"gradients": gradients, "projection": timed(lambda: projector.project(found[-1], model_id=0), 1)}


def timed(work: Any, repeats: int) -> float:
    """CPU ms a sample, the best of a few; run once before where it is repeated."""
    if repeats > 1:
        work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1000 * min(times) / BATCH


def peak() -> float:
    """The largest resident memory so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measured(side: str) -> dict[str, float]:
    """A side's figures, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.attribution_features", "--side", side]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure both sides and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=["ours", "peer"])
    chosen = parser.parse_args()
    if chosen.side:
        warnings.simplefilter("ignore")
        figures = ours() if chosen.side == "ours" else peer()
        print(json.dumps({**figures, "peak": peak()}))
        return
    own = measured("ours")
    print(f"ours: {own['all']:.1f} ms a sample all in, k = {own['width']:.0f}, {own['coverage']:.2%} of the parameters")
    print(f"ours: peak {own['peak']:.2f} GiB (target 0.7), {own['before']:.2f} before the first image", flush=True)
    other = measured("peer")
    print(
        f"traker: gradients {other['gradients']:.1f} + projection {other['projection']:.1f} ms, {other['peak']:.2f} GiB"
    )
    ratio, whole = other["projection"] / own["all"], (other["projection"] + other["gradients"]) / own["all"]
    print(f"ratio: {ratio:.1f} to its projection alone (target 30), {whole:.1f} to both")
    print("PASS" if ratio >= 30 and own["peak"] <= 0.7 else "FAIL")


if __name__ == "__main__":
    main()
