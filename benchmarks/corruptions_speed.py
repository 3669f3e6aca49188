"""All nineteen corruptions of a batch of 224 px images: CPU time against the public package imagecorruptions 1.1.2.

`python -m benchmarks.corruptions_speed [--images N] [--photo FILE]` prints, for each kind, CPU milliseconds an image
(mean over the five severities) of ours and of the package, in turn on the same images, and their ratio: over all
nineteen, and over the sixteen that the package does with NumPy 2 as it is. Targets: 0.5. It also counts the pixels in
which the kinds without chance differ: 0.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from app.numerics.corruptions.corrupt import corrupt
from app.numerics.corruptions.parameters import KINDS, SEVERITIES
from benchmarks.corruptions_reference import FIXED, corrupted

SIDE = 224
BROKEN = ("glass_blur", "gaussian_blur", "fog")
"""What the package cannot do with NumPy 2 unless it is helped."""


def images(count: int, photo: str) -> NDArray[np.uint8]:
    """Crops of a photograph, or smooth random pictures with flat white and black parts; uint8 [n, 224, 224, 3]."""
    random = np.random.default_rng(0)
    if photo:
        whole = np.asarray(Image.open(photo).convert("RGB"))
        corners = [random.integers(0, [side - SIDE + 1 for side in whole.shape[:2]]) for _ in range(count)]
        return np.stack([whole[y : y + SIDE, x : x + SIDE] for y, x in corners])
    found = []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        large = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(int)
        found.append((large * 1.4 - 50 + random.normal(0, 4, large.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--photo", default="")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    batch = images(asked.images, asked.photo)
    pictures = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
    totals: dict[str, tuple[float, float]] = {}
    differing = 0
    for kind in KINDS:
        corrupt(pictures[:1], kind, 1, family="imagenet-c", rows=[0])
        corrupted(batch[0], kind, 1, "imagenet-c")
        ours = theirs = 0.0
        for severity in SEVERITIES:
            began = time.process_time()
            found = corrupt(pictures, kind, severity, family="imagenet-c", rows=range(len(batch)))
            middle = time.process_time()
            # Sequential swaps in Python: two images are enough to time them.
            part = batch[:2] if kind == "glass_blur" else batch
            expected = [corrupted(image, kind, severity, "imagenet-c") for image in part]
            theirs += (time.process_time() - middle) / len(part)
            ours += (middle - began) / len(batch)
            if kind in FIXED:
                differing += int((found.permute(0, 2, 3, 1).numpy() != np.stack(expected)).sum())
        totals[kind] = 200 * ours, 200 * theirs
        print(
            f"{kind:18} ours {200 * ours:7.2f} ms  package {200 * theirs:7.2f} ms  ratio {ours / theirs:.3f}",
            flush=True,
        )
    for name, kinds in (("all 19", KINDS), ("16 that work", [kind for kind in KINDS if kind not in BROKEN])):
        ours, theirs = (sum(totals[kind][i] for kind in kinds) for i in (0, 1))
        print(f"{name}: ours {ours:.1f} ms  package {theirs:.1f} ms  ratio {ours / theirs:.3f} (target 0.5)")
    print(f"differing values in the {len(FIXED)} kinds without chance: {differing:,} (target 0)")


if __name__ == "__main__":
    main()
