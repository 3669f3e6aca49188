"""The one description of how gradients are taken, for every kind that reads them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.audits.base import FitSpec, ModelStageSpec

GRADIENTS = ModelStageSpec(
    "gradients",
    "Take gradients",
    3,
    "app.audits.influence.gradients:gradients",
    params=("features",),
    formats=("safetensors", "export", "onnx"),
)
"""A kind has a parameter `features` for it; kinds with the same number of features share the work."""
CURVATURE = ModelStageSpec(
    "ekfac",
    "Take gradients against the curvature",
    2,
    "app.audits.influence.curvature:features",
    params=("features",),
    formats=GRADIENTS.formats,
    fit=FitSpec("Fit the curvature", "app.audits.influence.curvature:fit", rows=2048),
)
"""EK-FAC at the last checkpoint; the curvature is that of at most 2,048 training images.

Each costs about 18 forward and backward passes on a processor (ResNet-9). On the digits MLP half of 1,200 rows cost
.004 of linear datamodelling score, a quarter .015; on two CNNs half cost nothing (`benchmarks.attribution_curvature`).
"""


def why_none(model: Mapping[str, np.ndarray], stage: str = "gradients") -> str:
    """Return the sentence that says why a split (`Split.model`) has no gradients of that stage."""
    if f"{stage}.reason" not in model:
        if any(name.startswith("gradients.codes") for name in model):
            return "The curvature could not be fitted; the run's log says why."
        return "This model's format gives no gradients; upload it as safetensors, with torch.export or as ONNX."
    return bytes(model[f"{stage}.reason"][0]).decode().rstrip()
