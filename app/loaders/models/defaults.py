"""The preprocessing that a named architecture is usually trained with: suggestions, not facts."""

from __future__ import annotations

import math
from typing import Any

from app.loaders.models import cifar_resnet

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def usual_preprocessing(architecture: str) -> dict[str, Any]:
    """Fields of `Preprocessing` that the library behind `architecture` publishes; empty where it has none."""
    source, _, name = architecture.rpartition(":")
    if cifar_resnet.parse_name(name) is not None:
        return {"size": (32, 32), "resize": "stretch", "crop": "none", **_IMAGENET}
    if source == "torchvision":
        return _torchvision(name)
    return _timm(name) if source in ("", "timm") else {}


def _torchvision(name: str) -> dict[str, Any]:
    import torchvision  # noqa: PLC0415 - imported by inspection only when asked for

    if name not in torchvision.models.list_models():
        return {}
    steps = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    crop, resize = steps.crop_size[0], steps.resize_size[0]
    how = {"size": (crop, crop), "resize": "shorter", "resize_to": resize, "crop": "center"}
    return {**how, "interpolation": steps.interpolation.value, "mean": tuple(steps.mean), "std": tuple(steps.std)}


def _timm(name: str) -> dict[str, Any]:
    import timm  # noqa: PLC0415

    config = timm.get_pretrained_cfg(name) if timm.is_model(name.partition(".")[0]) else None
    if config is None:
        return {}
    height, width = config.input_size[-2:]
    resize_to = math.floor(min(height, width) / (config.crop_pct or 1.0))
    how = {"size": (height, width), "resize": "shorter", "resize_to": resize_to, "crop": "center"}
    interpolation = config.interpolation if config.interpolation in ("bilinear", "bicubic", "lanczos") else "bicubic"
    return {**how, "interpolation": interpolation, "mean": tuple(config.mean), "std": tuple(config.std)}
