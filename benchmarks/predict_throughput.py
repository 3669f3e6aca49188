"""Prediction against the bare forward pass of the same network at the same batch size and precision.

Claim: a warm sandboxed child predicts a shard, decoding, resizing and writing included, at 0.9 or more of the
throughput of the forward pass alone on batches that lie ready in memory.

    python benchmarks/predict_throughput.py --architecture resnet50 --rows 128 --device cpu
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image, ImageFilter
from safetensors.torch import save_file

from app.loaders.models.predict import cached_model
from app.loaders.models.spec import ModelSpec, Preprocessing
from workers.sandbox import Limits, Sandbox

PREDICT = "app.loaders.models.predict:predict_shard"


def photographs(count: int, side: int) -> list[bytes]:
    """Blurred noise with as many bytes as a photograph of this size, as JPEG."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(count):
        pixels = generator.integers(0, 256, (side // 4, side // 4, 3), np.uint8)
        image = Image.fromarray(pixels).resize((side, side)).filter(ImageFilter.GaussianBlur(1))
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=85)
        files.append(stream.getvalue())
    return files


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write weights and a packed shard; return the request of `predict_shard`."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(options.architecture, weights=None)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model")
    files = photographs(options.rows, options.side)
    (folder / "images.bin").write_bytes(b"".join(files))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, files)]))
    steps = Preprocessing(size=(224, 224), resize_to=256)
    spec = ModelSpec(format="safetensors", architecture=f"torchvision:{options.architecture}", preprocessing=steps)
    return {
        "file": str(folder / "model"),
        "spec": spec.model_dump(mode="json"),
        "images": [str(folder / "images.bin")],
        "ranges": str(folder / "offsets.npy"),
        "batch_size": options.batch_size,
        "device": options.device,
    }


def bare_forward(request: dict[str, Any], rows: int) -> Callable[[], float]:
    """The forward pass over batches that lie ready on the device; returns seconds per call."""
    spec = ModelSpec.model_validate(request["spec"])
    model = cached_model(Path(request["file"]), spec, request["device"], "auto")
    model.batch_size = request["batch_size"]
    batch = torch.rand(request["batch_size"], 3, 224, 224, device=model.device)
    batch = batch.contiguous(memory_format=torch.channels_last)

    def once() -> float:
        began = time.perf_counter()
        for _ in range(rows // request["batch_size"]):
            model.raw(batch)
        return time.perf_counter() - began

    return once


def main() -> None:
    """Alternate the two, so that a busy machine slows both, and print the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = prepare(folder, options)
        limits = Limits(seconds=600, compute_threads=torch.get_num_threads())
        with Sandbox(folder / "in", limits, readable=[folder], device=options.device) as box:
            compare(box, request | {"output": str(box.folder / "out")}, options)


def compare(box: Sandbox, request: dict[str, Any], options: argparse.Namespace) -> None:
    """Print images per second of both, and their ratio."""
    bare = bare_forward({key: value for key, value in request.items() if key != "output"}, options.rows)
    bare()
    box.request(PREDICT, request)
    pairs = []
    for _ in range(options.rounds):
        alone = bare()
        began = time.perf_counter()
        box.request(PREDICT, request)
        pairs.append((alone, time.perf_counter() - began))
    alone, whole = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(alone / whole for alone, whole in pairs)
    print(f"{options.architecture}, {options.device}, batch {options.batch_size}, {torch.get_num_threads()} threads")
    print(f"bare forward   {options.rows / alone:8.1f} images/s")
    print(f"predict shard  {options.rows / whole:8.1f} images/s (in the sandbox, decoding and writing included)")
    print(f"ratio          {ratio:8.3f}   (goal: at least 0.9; n = {options.rounds} rounds of {options.rows} images)")


if __name__ == "__main__":
    main()
