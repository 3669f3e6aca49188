"""Rows and files that jobs start from."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from sqlalchemy.orm import Session

from app.store.models import AuditRun, Checkpoint, Dataset, Model, ModelVersion, Project, Query, Upload
from app.store.places import get_blobs

CLASSES = ["blue", "green", "red"]
LAYERS = [
    {"conv2d": {"in_channels": 3, "out_channels": 4, "kernel_size": 3}},
    {"relu": {}},
    {"adaptive_avgpool2d": {"output_size": 1}},
    {"flatten": {}},
    {"linear": {"in_features": 4, "out_features": 3}},
]


def project(session: Session) -> int:
    """Return a new project's id."""
    made = Project(name="p")
    session.add(made)
    session.flush()
    return made.id


def images_zip(per_class: int = 6, splits: tuple[str, ...] = ("train", "val")) -> bytes:
    """Class folders of 16-pixel PNGs, coloured by their class, in a zip."""
    rng, target = np.random.default_rng(3), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for split in splits:
            for c, name in enumerate(CLASSES):
                for i in range(per_class):
                    pixels = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
                    pixels[..., 2 - c] += 150
                    picture = io.BytesIO()
                    Image.fromarray(pixels).save(picture, "PNG")
                    archive.writestr(f"{split}/{name}/{i:03d}.png", picture.getvalue())
    return target.getvalue()


def dataset(session: Session, project_id: int, data: bytes) -> Dataset:
    """A queued data set whose upload is complete."""
    blob = get_blobs().put([data])
    upload = Upload(
        project_id=project_id, token=f"t{blob.sha256[:20]}", filename="images.zip",
        size=blob.size, received=blob.size, sha256=blob.sha256, meta={},
    )  # fmt: skip
    session.add(upload)
    session.flush()
    made = Dataset(project_id=project_id, name="colours", source={"uploads": [upload.id]})
    session.add(made)
    session.flush()
    return made


def weights(seed: int = 0) -> bytes:
    """Safetensors of a network that tells the colours apart by luck only."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"0.weight": (4, 3, 3, 3), "0.bias": (4,), "4.weight": (3, 4), "4.bias": (3,)}
    return save({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()})


def version(
    session: Session, project_id: int, data: bytes, claim: dict[str, Any] | None = None, **spec: Any
) -> ModelVersion:
    """A queued model version with one checkpoint."""
    blob = get_blobs().put([data])
    model = Model(project_id=project_id, name="m")
    session.add(model)
    session.flush()
    stated = {"format": "safetensors", "architecture": LAYERS, "classes": CLASSES} | spec
    stated.setdefault("preprocessing", {"size": [16, 16], "resize": "stretch"})
    made = ModelVersion(model_id=model.id, number=1, format=stated["format"], spec=stated, claim=claim or {})
    session.add(made)
    session.flush()
    session.add(
        Checkpoint(version_id=made.id, position=0, filename="m.safetensors", sha256=blob.sha256, size=blob.size)
    )
    session.flush()
    return made


def run(session: Session, dataset: Dataset, version: ModelVersion, **values: Any) -> AuditRun:
    """A queued run of the trivial kind on the model's own features."""
    stated = {"split": "val", "train_split": "train", "kinds": ["trivial"], "encoder": "penultimate", "seed": 0}
    made = AuditRun(
        project_id=dataset.project_id, name="r", model_version_id=version.id, dataset_id=dataset.id, **(stated | values)
    )
    session.add(made)
    session.flush()
    return made


def query(session: Session, run_id: int, class_index: int = 0) -> Query:
    """A queued question of the trivial kind."""
    made = Query(run_id=run_id, kind="trivial", action="ask", payload={"class_index": class_index})
    session.add(made)
    session.flush()
    return made
