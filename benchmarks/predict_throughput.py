"""Prediction against the bare forward pass of the same network at the same batch size and precision.

Claim: a warm sandboxed child predicts a shard, decoding, resizing and writing included, at 0.9 or more of the
throughput of the forward pass alone on batches that lie ready in memory.

    python -m benchmarks.predict_throughput --architecture resnet18 resnet50 --side 500 375
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import save_file

from app.loaders.models.predict import cached_model
from app.loaders.models.spec import ModelSpec, Preprocessing
from benchmarks.throughput import Ratio, compare, pack, photographs, show, timed
from workers.sandbox import Limits, Sandbox
from workers.sandbox.process import cpu_seconds

PREDICT = "app.loaders.models.predict:predict_shard"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--side", type=int, nargs=2, default=[500, 375], help="Width and height of the photographs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    for architecture in options.architecture:
        with tempfile.TemporaryDirectory() as name:
            found = measure(Path(name), architecture, options)
        side = " × ".join(map(str, options.side))
        title = f"predict {architecture}, {options.device}, batch {options.batch_size}, JPEG {side}"
        show(title, options.rows, options.rounds, found)


def measure(folder: Path, architecture: str, options: argparse.Namespace) -> Ratio:
    """Compare a shard in a sandbox with the forward pass in this process."""
    request = prepare(folder, architecture, options)
    limits = Limits(seconds=600, compute_threads=torch.get_num_threads())
    bare = timed(bare_forward(request, options.rows))
    with Sandbox(folder / "in", limits, readable=[folder], device=options.device) as box:
        request["output"] = str(box.folder / "out")
        box.request(PREDICT, request)
        pid = box.pid
        assert pid is not None
        whole = timed(lambda: box.request(PREDICT, request), lambda: cpu_seconds(pid))
        return compare(bare, whole, options.rounds)


def prepare(folder: Path, architecture: str, options: argparse.Namespace) -> dict[str, Any]:
    """Write weights and a packed shard; return the request of `predict_shard`."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(architecture, weights=None)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model")
    images, ranges = pack(photographs(options.rows, *options.side), folder)
    steps = Preprocessing(size=(224, 224), resize_to=256)
    spec = ModelSpec(format="safetensors", architecture=f"torchvision:{architecture}", preprocessing=steps)
    return {
        "file": str(folder / "model"),
        "spec": spec.model_dump(mode="json"),
        "images": [str(images)],
        "ranges": str(ranges),
        "batch_size": options.batch_size,
        "device": options.device,
    }


def bare_forward(request: dict[str, Any], rows: int) -> Callable[[], None]:
    """The forward pass over batches that lie ready on the device."""
    spec = ModelSpec.model_validate(request["spec"])
    model = cached_model(Path(request["file"]), spec, request["device"], "auto")
    model.batch_size = request["batch_size"]
    batch = torch.rand(request["batch_size"], 3, 224, 224, device=model.device)
    batch = batch.contiguous(memory_format=torch.channels_last)

    def once() -> None:
        for start in range(0, rows, len(batch)):
            model.raw(batch[: rows - start])

    return once


if __name__ == "__main__":
    main()
