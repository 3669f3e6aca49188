"""Embedding against the bare forward pass of the same image tower at the same batch size and precision.

Claim: an encoder embeds images, decoding, resizing and normalising included, at 0.9 or more of the throughput of its
image tower alone on batches that lie ready in memory. It holds for photographs before open_clip's ViT-B-32 (random
weights: their values cost nothing). It cannot for the bundled encoder: its network takes 0.7 ms a picture on a core,
and opening a WebP of 112 px and resizing it takes 0.3 ms in libwebp and Pillow; the figure says so.

    python -m benchmarks.embed_throughput --encoder ViT-B-32 scenes
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch

from app.loaders.encoders import BUNDLED, Encoder, assemble, load_encoder
from app.loaders.models.packed import PackedImages
from app.resources import resource
from benchmarks.throughput import Ratio, compare, pack, photographs, show, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", nargs="+", default=["ViT-B-32", BUNDLED])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--side", type=int, nargs=2, default=[500, 375], help="Width and height of the photographs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    for name in options.encoder:
        bundled = name == BUNDLED
        files = scenes(options.rows) if bundled else photographs(options.rows, *options.side)
        encoder = load_encoder(BUNDLED, options.device) if bundled else untrained(name, options.device)
        found = measure(encoder, files, options.batch_size, options.rounds)
        pictures = "its own pictures" if bundled else f"JPEG {' × '.join(map(str, options.side))}"
        title = f"embed {name}, {options.device}, batch {options.batch_size}, {pictures}"
        show(title, options.rows, options.rounds, found)


def untrained(name: str, device: str) -> Encoder:
    """An open_clip architecture with random weights, which needs no download."""
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(name, None, device=device)
    return assemble(name, model, preprocess, None, torch.device(device))


def scenes(count: int) -> list[bytes]:
    """Pictures of the demo, as they are shipped."""
    groups = pq.ParquetFile(resource("demo") / "scenes.parquet").iter_batches(count, columns=["image"])
    return [row["image"]["bytes"] for row in next(groups).to_pylist()]


def measure(encoder: Encoder, files: list[bytes], batch_size: int, rounds: int) -> Ratio:
    """Compare embedding from a pack on disk with the image tower alone."""
    with tempfile.TemporaryDirectory() as folder:
        images, ranges = pack(files, Path(folder))
        packed = PackedImages([images], np.load(ranges))

        def whole() -> None:
            encoder.embed_images(map(packed.file, range(len(packed))), batch_size)

        return compare(timed(bare_forward(encoder, len(files), batch_size)), timed(whole), rounds)


def bare_forward(encoder: Encoder, rows: int, batch_size: int) -> Callable[[], None]:
    """The image tower over batches that lie ready on the device."""
    # In the order of memory that decoding gives, which is the faster one for the first convolution.
    batch = torch.rand(batch_size, *encoder.steps.size, encoder.steps.channels, device=encoder.device)
    batch = batch.permute(0, 3, 1, 2)
    precision = torch.autocast(encoder.device.type, torch.bfloat16, encoder.device.type == "cuda")

    def once() -> None:
        with torch.inference_mode(), precision:
            for start in range(0, rows, batch_size):
                encoder.model.encode_image(batch[: rows - start]).float().cpu()

    return once


if __name__ == "__main__":
    main()
