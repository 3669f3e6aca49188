"""Train the demo's classifier on the biased split.

`python -m scripts.train_scenes_classifier` writes demo/classifier/.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from app.loaders.models.cifar_resnet import CifarResNet
from app.loaders.models.preprocess import to_input
from app.loaders.models.recipe import Recipe
from app.loaders.models.retrain import settings_of
from app.loaders.models.spec import ModelSpec, Preprocessing
from app.numerics.training.train import Rows, outputs, train

MEAN, STD = (0.45, 0.42, 0.38), (0.26, 0.25, 0.26)
EPOCHS_KEPT = 3
CPU = torch.device("cpu")


def load_split(table: Path, split: str, size: int) -> tuple[torch.Tensor, list[str]]:
    """Pictures (n, size, size, 3) uint8 and labels of one split."""
    rows = pq.read_table(table, columns=["image", "label"], filters=[("split", "=", split)]).to_pylist()
    pictures = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB") for row in rows]
    arrays = [np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)), [row["label"] for row in rows]


def rows_of(pictures: torch.Tensor, labels: torch.Tensor) -> Rows:
    """Labelled pictures as the trainer takes them."""
    way = Preprocessing(size=tuple(pictures.shape[1:3]), resize="stretch", crop="none", mean=MEAN, std=STD)
    return Rows(lambda places: pictures[places], labels, lambda batch: to_input(batch, way))


def fit(model: nn.Module, rows: Rows, recipe: Recipe, folder: Path) -> None:
    """Train, and write a checkpoint after each of the last epochs."""
    everything, started = torch.arange(len(rows.labels)), time.monotonic()
    for epoch, loss in enumerate(train(model, rows, everything, settings_of(recipe), recipe.seed, CPU)):
        print(f"epoch {epoch}: loss {loss:.3f}, {time.monotonic() - started:.0f} s", flush=True)
        kept = epoch - (recipe.epochs - EPOCHS_KEPT)
        if kept >= 0:
            save_checkpoint(model, folder / f"checkpoint-{kept}.safetensors")


def save_checkpoint(model: nn.Module, path: Path) -> None:
    """Write the weights in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = model.state_dict().items()
    save_file({name: (v.half() if v.is_floating_point() else v).contiguous() for name, v in state}, path)


def describe_model(
    args: argparse.Namespace, recipe: Recipe, classes: list[str], accuracy: float, rows: int
) -> dict[str, Any]:
    """What someone who uploads the model has to know."""
    way = Preprocessing(size=(args.size, args.size), resize="stretch", crop="none", mean=MEAN, std=STD)
    spec = ModelSpec(
        format="safetensors", architecture=f"cifar_resnet{args.depth}", preprocessing=way, classes=tuple(classes)
    )
    return {
        "name": "Scenes classifier",
        "spec": spec.model_dump(mode="json"),
        "training_split": "train",
        "recipe": recipe.model_dump(mode="json"),
        "claimed_accuracy": {"split": "test", "value": round(accuracy, 4), "n": rows},
        "checkpoints": [f"checkpoint-{k}.safetensors" for k in range(EPOCHS_KEPT)],
    }


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
    recipe = Recipe(
        epochs=args.epochs, batch_size=args.batch, learning_rate=args.rate, seed=args.seed,
        weight_decay=5e-4, shift=4, mirror=True,
    )  # fmt: skip
    torch.manual_seed(args.seed)
    pictures, labels = load_split(args.data, "train", args.size)
    classes = sorted(set(labels))
    model = CifarResNet(args.depth, len(classes))
    fit(model, rows_of(pictures, torch.tensor([classes.index(label) for label in labels])), recipe, args.to)
    held_out, truth = load_split(args.data, "test", args.size)
    rows = rows_of(held_out, torch.tensor([classes.index(label) for label in truth]))
    right = outputs(model, rows, CPU).right
    card = describe_model(args, recipe, classes, right.float().mean().item(), len(right))
    (args.to / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card["claimed_accuracy"]))


if __name__ == "__main__":
    main()
