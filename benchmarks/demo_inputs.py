"""The demo's pictures, classifier and encoder as the inputs of the slices kind, without server or store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from app.audits.base import Inputs, Split
from app.audits.slices.schema import Params
from app.loaders.encoders import Encoder, load_encoder
from app.loaders.images import decode_rgb
from app.loaders.models.preprocess import to_input, to_pixels
from app.loaders.models.runtime import LoadedModel, load_model
from app.loaders.models.spec import ModelSpec

DEMO = Path(__file__).parents[1] / "demo"
FACTORS = ("object_colour", "size", "setting", "light", "viewpoint", "occlusion", "weather")
BATCH = 128
MOST_PIXELS = 1 << 24


def demo_inputs(params: Params, seed: int = 0, keep: Path | None = None) -> Inputs:
    """Audit the demo's test split, with its training split as the reference.

    Args:
        params: of the slices kind.
        seed: of the run.
        keep: folder in which embeddings and outputs are kept between calls, if any.
    """
    model = json.loads((DEMO / "classifier" / "model.json").read_text())
    spec = ModelSpec.model_validate(model["spec"])
    classifier = load_model(DEMO / "classifier" / model["checkpoints"][-1], spec, "cpu", "float32")
    encoder = load_encoder("scenes")
    splits = {name: _split(name, classifier, encoder, keep) for name in ("test", "train")}
    return Inputs(
        audited=splits["test"],
        train=splits["train"],
        classes=spec.classes,
        params=params,
        seed=seed,
        device="cpu",
        encode_text=encoder.embed_text,
        earlier={},
        progress=lambda _share, _message: None,
        encoder_words=encoder.words,
    )


def _split(name: str, classifier: LoadedModel, encoder: Encoder, keep: Path | None) -> Split:
    columns = ["label", *FACTORS] + ([] if keep and (keep / f"{name}.npz").is_file() else ["image"])
    table = pq.read_table(DEMO / "scenes.parquet", columns=columns, filters=[("split", "==", name)])
    arrays = _arrays(name, table, classifier, encoder, keep)
    labels = [classifier.spec.classes.index(label) for label in table["label"].to_pylist()]
    manifest = pa.table({"row": np.arange(len(labels)), "label": pa.array(labels, pa.int32())})
    for factor in FACTORS:
        manifest = manifest.append_column(f"meta.{factor}", table[factor])
    return Split(name, manifest, arrays["embeddings"], arrays["logits"], arrays["features"])


def _arrays(
    name: str, table: pa.Table, classifier: LoadedModel, encoder: Encoder, keep: Path | None
) -> dict[str, np.ndarray]:
    if keep and (keep / f"{name}.npz").is_file():
        with np.load(keep / f"{name}.npz", allow_pickle=False) as kept:
            return dict(kept)
    images = [image["bytes"] for image in table["image"].to_pylist()]
    logits, features = _outputs(images, classifier)
    arrays = {"embeddings": encoder.embed_images(images), "logits": logits, "features": features}
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        np.savez(keep / f"{name}.npz", allow_pickle=False, **arrays)
    return arrays


def _outputs(images: list[bytes], classifier: LoadedModel) -> tuple[np.ndarray, np.ndarray]:
    steps = classifier.spec.preprocessing
    logits, features = [], []
    for start in range(0, len(images), BATCH):
        pixels = [to_pixels(decode_rgb(data, MOST_PIXELS), steps) for data in images[start : start + BATCH]]
        scores, penultimate = classifier.predict(to_input(torch.from_numpy(np.stack(pixels)), steps))
        assert penultimate is not None
        logits.append(scores.numpy())
        features.append(penultimate.numpy())
    return np.concatenate(logits), np.concatenate(features)
