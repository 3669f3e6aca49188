"""Are the demo's planted failures found, and in words? One direction per class, on the shipped weights and pictures.

`python -m benchmarks.planted_directions`: a linear SVM per class (scikit-learn, as methods/slices describes) fitted on
half of the test split's embeddings; printed from the other half: P@10 and P@25 for the planted group, its error rate,
and the rank of its true caption in a bank by the corrected caption score.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from app.loaders.models.cifar_resnet import CifarResNet
from app.loaders.models.spec import ModelSpec
from app.numerics.intervals import wilson_interval
from benchmarks.scenes_encoder import embed_pictures
from scripts.train_scenes_classifier import load_split, predict

PLACES = ("on grass", "in snow", "on sand", "indoors", "on a street")
HOURS = ("by day", "at dusk", "at night")
COLOURS = ("white", "black", "red", "blue", "yellow")
SIZES = ("small", "large")


def caption_bank(noun: str) -> list[str]:
    """Every combination of a size, a colour, a place and an hour, each or none, around one noun."""
    parts = itertools.product(("", *SIZES), ("", *COLOURS), ("", *PLACES), ("", *HOURS))
    cores = [" ".join(word for word in (s, c, noun, p, h) if word) for s, c, p, h in parts]
    return [("an " if core[0] in "aeiou" else "a ") + core for core in cores]


def correct(folder: Path, data: Path) -> np.ndarray:
    """Whether the classifier's last checkpoint is right, for every test row."""
    card = json.loads((folder / "model.json").read_text())
    spec = ModelSpec.model_validate(card["spec"])
    model = CifarResNet(int(str(spec.architecture).removeprefix("cifar_resnet")), len(spec.classes))
    model.load_state_dict({k: v.float() for k, v in load_file(folder / card["checkpoints"][-1]).items()})
    pictures, labels = load_split(data, "test", spec.preprocessing.size[0])
    return np.array([spec.classes[k] for k in predict(model, pictures).tolist()]) == np.array(labels)


def fit_direction(x: np.ndarray, right: np.ndarray) -> SVC:
    """The linear SVM of right against wrong, C by two-fold balanced accuracy."""
    grid = [SVC(kernel="linear", C=c, class_weight="balanced") for c in np.logspace(-6, 0, 7)]
    scores = [cross_val_score(svm, x, right, cv=2, scoring="balanced_accuracy").mean() for svm in grid]
    return grid[int(np.argmax(scores))].fit(x, right)


def caption_ranks(svm: SVC, std: np.ndarray, text: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Captions from hard to easy: the unit difference to the reference, over the spread, along the direction."""
    difference = text - reference
    length = np.linalg.norm(difference, axis=1, keepdims=True)
    unit = np.where(length > 1e-6, difference / np.maximum(length, 1e-6), 0.0)
    return np.argsort((unit / std) @ svm.coef_[0])


@torch.inference_mode()
def embed_text(model: Any, tokenize: Any, sentences: list[str]) -> np.ndarray:
    """Unit embeddings (m, d) of sentences."""
    read = model.encode_text(tokenize(sentences))
    return torch.nn.functional.normalize(read, dim=1).numpy().astype(np.float64)


def embed_rows(model: Any, preprocess: Any, rows: list[dict[str, Any]]) -> np.ndarray:
    """Unit embeddings (n, d) of the rows' pictures."""
    pictures = [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")) for row in rows]
    return embed_pictures(model, preprocess, np.stack(pictures)).numpy().astype(np.float64)


def covered(plant: dict[str, Any], rows: list[dict[str, Any]]) -> np.ndarray:
    """Which rows belong to a planted group."""
    return np.array(
        [row["label"] == plant["class"] and all(row[k] == v for k, v in plant["where"].items()) for row in rows]
    )


def found_line(order: np.ndarray, inside: np.ndarray, own: np.ndarray, right: np.ndarray) -> str:
    """Prevalence, error rates, and precision at the top of the held-out order."""
    wrong, n = int((~right[inside]).sum()), int(inside.sum())
    low, high = wilson_interval(wrong, n)
    return (
        f"share {n / own.sum():.3f}  errors {wrong}/{n} = {wrong / n:.2f} [{float(low):.2f}, {float(high):.2f}], "
        f"rest {(~right[own & ~inside]).mean():.3f}  "
        f"P@10 {inside[order[:10]].mean():.2f}  P@25 {inside[order[:25]].mean():.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    demo = parser.parse_args().demo
    name = f"local-dir:{demo / 'encoder'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    rows = pq.read_table(demo / "scenes.parquet", filters=[("split", "=", "test")]).to_pylist()
    x, right = embed_rows(model, preprocess, rows), correct(demo / "classifier", demo / "scenes.parquet")
    label, fit = np.array([row["label"] for row in rows]), np.random.default_rng(0).random(len(rows)) < 0.5
    std = x[fit].std(0)
    z = (x - x[fit].mean(0)) / std
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    print(f"accuracy {right.mean():.3f} (n = {len(rows)})")
    for plant in json.loads((demo / "planted.json").read_text()):
        own, noun = label == plant["class"], plant["class"]
        svm = fit_direction(z[fit & own], right[fit & own])
        held = np.flatnonzero(~fit & own)
        order = held[np.argsort(svm.decision_function(z[held]))]
        bank, read = caption_bank(noun), partial(embed_text, model, open_clip.get_tokenizer(name))
        reference = read([f"a {noun}", f"a photo of a {noun}"]).mean(0)
        ranked = [bank[i] for i in caption_ranks(svm, std, read(bank), reference)]
        place = ranked.index(plant["caption"]) + 1
        print(f"{plant['name']:26s} {found_line(order, covered(plant, rows), own, right)}")
        print(f"{'':26s} rank of “{plant['caption']}” {place} of {len(bank)}; first: {ranked[:3]}", flush=True)


if __name__ == "__main__":
    main()
