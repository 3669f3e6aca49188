"""Train the demo's vision/language encoder: `python -m scripts.train_scenes_encoder` writes demo/encoder/.

It learns from captions of unbiased renders of its own seeds, and never sees a picture of the demo's data. The loss is
CLIP's (Radford et al. 2021) with the targets of UniCL (Yang et al. 2022): a random caption names few factors and is
true of many pictures of the batch, and the generator knows of which. Objects are the hardest to tell apart: every
picture has a second caption that names the object alone, set against others of its sort.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn.functional import log_softmax, normalize, pad

from app.scenes.captions import WORDS, Caption, describe
from app.scenes.fresh import fresh_pictures
from app.scenes.spec import COLOURS, LEVELS, Factors

TRAIN_SEED = 11
IMAGE_SIZE = 64
MEAN, STD = (0.48, 0.45, 0.42), (0.27, 0.26, 0.27)
MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": IMAGE_SIZE, "layers": [1, 1, 1, 1], "width": 24, "head_width": 64},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}
TOKENIZE = open_clip.SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])
PREPROCESS = {
    "mean": MEAN,
    "std": STD,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def level_codes(factors: list[Factors]) -> torch.Tensor:
    """Which level of which factor each scene has, (n, levels) float32 of zeros and ones."""
    names = [(name, value) for name, values in LEVELS.items() for value in values]
    rows = [[float(scene.as_dict()[name] == value) for name, value in names] for scene in factors]
    return torch.tensor(rows)


def denied(captions: list[Caption]) -> torch.Tensor:
    """Which levels each caption rules out, (m, levels) float32 of zeros and ones."""
    names = [(name, value) for name, values in LEVELS.items() for value in values]
    rows = [[float(name in c.claims and value not in c.claims[name]) for name, value in names] for c in captions]
    return torch.tensor(rows)


def contrastive_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy both ways between logits and truth, both (images, captions); every row and column has a truth."""
    by_image = truth / truth.sum(dim=1, keepdim=True)
    by_caption = truth / truth.sum(dim=0, keepdim=True)
    from_images = -(by_image * log_softmax(logits, dim=1)).sum(dim=1).mean()
    from_captions = -(by_caption * log_softmax(logits, dim=0)).sum(dim=0).mean()
    return from_images + from_captions


def augment(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift by up to 4 pixels, mirror, and vary exposure a little; uint8 (n, 3, s, s) in, normalised float out."""
    n, _, size, _ = pictures.shape
    dx, dy = torch.randint(0, 9, (2,), generator=generator).tolist()
    x = pad(pictures.float() / 255.0, (4, 4, 4, 4), mode="replicate")[:, :, dy : dy + size, dx : dx + size]
    mirrored = torch.rand(n, generator=generator) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    x = x * (1.0 + 0.08 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5))
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    return x.contiguous(memory_format=torch.channels_last)


def groups(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Parameters with weight decay (matrices), and without (gains, biases, positions, the token table)."""
    plain = [p for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n]
    heavy = [p for n, p in model.named_parameters() if not (p.ndim < 2 or "embedding" in n)]
    return [{"params": plain, "weight_decay": 0.0}, {"params": heavy, "weight_decay": decay}]


def batch_loss(model: Any, images: torch.Tensor, scenes: list[Factors], rng: np.random.Generator) -> torch.Tensor:
    """The loss of one batch: against random captions, and against captions that name the object alone."""
    captions = [describe(scene, rng) for scene in scenes]
    captions += [describe(scene, rng, naming=["object"]) for scene in scenes]
    seen = normalize(model.encode_image(images), dim=1)
    read = normalize(model.encode_text(TOKENIZE([c.text for c in captions])), dim=1)
    logits = model.logit_scale.exp().clamp(max=60.0) * seen @ read.T
    truth = (level_codes(scenes) @ denied(captions).T == 0).float()
    n = len(scenes)
    return contrastive_loss(logits[:, :n], truth[:, :n]) + contrastive_loss(logits[:, n:], truth[:, n:])


def train(model: Any, pictures: torch.Tensor, factors: list[Factors], args: argparse.Namespace) -> None:
    """Train for a number of steps; the learning rate rises, then falls on a cosine."""
    generator, rng = torch.Generator().manual_seed(args.seed), np.random.default_rng(args.seed)
    optimiser = torch.optim.AdamW(groups(model, 0.05), lr=args.rate, betas=(0.9, 0.98), fused=True)
    started, per_epoch = time.monotonic(), len(pictures) // args.batch
    model.train()
    for step in range(args.steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(pictures), generator=generator)
        picked = order[(step % per_epoch) * args.batch :][: args.batch]
        pace = min(1.0, (step + 1) / 60) * 0.5 * (1.0 + math.cos(math.pi * step / args.steps))
        for group in optimiser.param_groups:
            group["lr"] = args.rate * pace
        loss = batch_loss(model, augment(pictures[picked], generator), [factors[i] for i in picked.tolist()], rng)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0 or step == args.steps - 1:
            print(f"step {step}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)


def save(model: Any, to: Path) -> None:
    """Write the two files that open_clip's `local-dir:` reads; weights in half precision."""
    to.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (to / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(weights, to / "open_clip_model.safetensors")
    (to / "vocabulary.json").write_text(json.dumps(vocabulary(), indent=1) + "\n")


def vocabulary() -> dict[str, list[str]]:
    """One wording of every value that captions name, by factor: the words that this encoder knows."""
    said = {name: [wordings[0] for wordings in values.values()] for name, values in WORDS.items()}
    return {"colour": list(COLOURS), **said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("demo/encoder"))
    parser.add_argument("--renders", type=int, default=24000)
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    pictures, factors = fresh_pictures(args.renders, TRAIN_SEED, IMAGE_SIZE)
    model = open_clip.model.CLIP(**MODEL).to(memory_format=torch.channels_last)
    train(model, torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), factors, args)
    save(model, args.to)


if __name__ == "__main__":
    main()
