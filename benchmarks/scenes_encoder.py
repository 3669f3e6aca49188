"""Does the bundled encoder name what it sees? Zero-shot accuracy of every factor on fresh, unbiased renders.

`python -m benchmarks.scenes_encoder`; the pictures are drawn once (needs EGL) and kept in build/.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch.nn.functional import normalize

from app.numerics.intervals import wilson_interval
from app.scenes.captions import WORDS
from app.scenes.fresh import fresh_pictures
from app.scenes.spec import LEVELS

SEED = 12
PATTERNS = ("a photo of {}", "a picture of {}", "{}")


def prompts(factor: str, value: str) -> list[str]:
    """Sentences that name one value of one factor and nothing else."""
    if factor == "object":
        cores = [f"a {value}"]
    elif factor == "colour":
        cores = [f"a {value} {noun}" for noun in ("thing", "object", "toy")]
    elif factor == "size":
        cores = [f"a {word} {noun}" for word in WORDS[factor][value] for noun in ("thing", "object", "toy")]
    else:
        cores = [f"a {noun} {phrase}" for phrase in WORDS[factor][value] for noun in ("thing", "object", "toy")]
    return [pattern.format(core) for core in cores for pattern in PATTERNS]


@torch.inference_mode()
def embed_pictures(model: Any, preprocess: Any, pictures: np.ndarray) -> torch.Tensor:
    """Unit embeddings (n, d) of pictures (n, s, s, 3) uint8."""
    batches = np.array_split(pictures, max(1, len(pictures) // 256))
    rows = [model.encode_image(torch.stack([preprocess(Image.fromarray(p)) for p in batch])) for batch in batches]
    return normalize(torch.cat(rows), dim=1)


@torch.inference_mode()
def embed_values(model: Any, tokenize: Any, factor: str) -> torch.Tensor:
    """One unit embedding per value of a factor: the mean over its prompts."""
    means = [normalize(model.encode_text(tokenize(prompts(factor, v))), dim=1).mean(0) for v in LEVELS[factor]]
    return normalize(torch.stack(means), dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, default=Path("demo/encoder"))
    parser.add_argument("--renders", type=int, default=2000)
    args = parser.parse_args()
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{args.encoder}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{args.encoder}")
    model.eval()
    pictures, scenes = fresh_pictures(args.renders, SEED, model.visual.image_size)
    seen = embed_pictures(model, preprocess, pictures)
    for factor, values in LEVELS.items():
        named = (seen @ embed_values(model, tokenize, factor).T).argmax(dim=1).tolist()
        right = sum(values[k] == scene.as_dict()[factor] for k, scene in zip(named, scenes, strict=True))
        low, high = wilson_interval(right, len(scenes))
        print(f"{factor:10s} {right / len(scenes):6.1%}  95 % {float(low):.1%} to {float(high):.1%}  n = {len(scenes)}")


if __name__ == "__main__":
    main()
