"""Train the demo's classifier on the biased split.

`python -m scripts.train_scenes_classifier` writes demo/classifier/.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy, pad

from app.loaders.models.cifar_resnet import CifarResNet
from app.loaders.models.recipe import Recipe
from app.loaders.models.spec import ModelSpec, Preprocessing

MEAN, STD = (0.45, 0.42, 0.38), (0.26, 0.25, 0.26)
EPOCHS_KEPT = 3


def load_split(table: Path, split: str, size: int) -> tuple[torch.Tensor, list[str]]:
    """Pictures (n, 3, size, size) uint8 and labels of one split."""
    rows = pq.read_table(table, columns=["image", "label"], filters=[("split", "=", split)]).to_pylist()
    pictures = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB") for row in rows]
    arrays = [np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2), [row["label"] for row in rows]


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """Pixels as the network takes them, float32, channels last in memory."""
    x = (pictures.float() / 255.0 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    return x.contiguous(memory_format=torch.channels_last)


def augment(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift a batch by up to 4 pixels and mirror half of it."""
    n, _, size, _ = pictures.shape
    dx, dy = torch.randint(0, 9, (2,), generator=generator).tolist()
    x = pad(pictures.float(), (4, 4, 4, 4), mode="replicate")[:, :, dy : dy + size, dx : dx + size]
    mirrored = torch.rand(n, generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, args: argparse.Namespace) -> None:
    """Train, and write a checkpoint after each of the last epochs."""
    generator = torch.Generator().manual_seed(args.seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=args.rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    per_epoch = math.ceil(len(x) / args.batch)
    steps = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, total_steps=args.epochs * per_epoch)
    started = time.monotonic()
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for picked in torch.randperm(len(x), generator=generator).split(args.batch):
            with torch.autocast("cpu", torch.bfloat16):
                scores = model(normalised(augment(x[picked], generator)))
            loss = cross_entropy(scores.float(), y[picked])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.step()
            total += loss.item() * len(picked)
        print(f"epoch {epoch}: loss {total / len(x):.3f}, {time.monotonic() - started:.0f} s", flush=True)
        kept = epoch - (args.epochs - EPOCHS_KEPT)
        if kept >= 0:
            save_checkpoint(model, args.to / f"checkpoint-{kept}.safetensors")


def save_checkpoint(model: nn.Module, path: Path) -> None:
    """Write the weights in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = model.state_dict().items()
    save_file({name: (v.half() if v.is_floating_point() else v).contiguous() for name, v in state}, path)


@torch.inference_mode()
def predict(model: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """The predicted class of each picture, (n,) int64."""
    model.eval()
    return torch.cat([model(normalised(batch)).argmax(dim=1) for batch in pictures.split(256)])


def describe_model(args: argparse.Namespace, classes: list[str], accuracy: float, rows: int) -> dict[str, Any]:
    """What someone who uploads the model has to know."""
    way = Preprocessing(size=(args.size, args.size), resize="stretch", crop="none", mean=MEAN, std=STD)
    spec = ModelSpec(
        format="safetensors", architecture=f"cifar_resnet{args.depth}", preprocessing=way, classes=tuple(classes)
    )
    return {
        "name": "Scenes classifier",
        "spec": spec.model_dump(mode="json"),
        "training_split": "train",
        "recipe": recipe(args).model_dump(mode="json"),
        "claimed_accuracy": {"split": "test", "value": round(accuracy, 4), "n": rows},
        "checkpoints": [f"checkpoint-{k}.safetensors" for k in range(EPOCHS_KEPT)],
    }


def recipe(args: argparse.Namespace) -> Recipe:
    """How it was trained, as the built-in trainer can repeat it; here in bfloat16, and a batch is shifted as one."""
    return Recipe(
        epochs=args.epochs, batch_size=args.batch, learning_rate=args.rate, seed=args.seed,
        weight_decay=5e-4, shift=4, mirror=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("demo/scenes.parquet"))
    parser.add_argument("--to", type=Path, default=Path("demo/classifier"))
    parser.add_argument("--depth", type=int, default=14)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    x, labels = load_split(args.data, "train", args.size)
    classes = sorted(set(labels))
    model = CifarResNet(args.depth, len(classes)).to(memory_format=torch.channels_last)
    train(model, x, torch.tensor([classes.index(label) for label in labels]), args)
    held_out, truth = load_split(args.data, "test", args.size)
    right = predict(model, held_out) == torch.tensor([classes.index(label) for label in truth])
    card = describe_model(args, classes, right.float().mean().item(), len(right))
    (args.to / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card["claimed_accuracy"]))


if __name__ == "__main__":
    main()
