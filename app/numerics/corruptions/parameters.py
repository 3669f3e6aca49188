"""Kinds and severities as data.

Source: the scripts `make_imagenet_c.py` and `make_cifar_c.py` that Hendrycks and Dietterich published with
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR 2019). Lengths are in pixels,
those of elastic transforms relative to the side; shares and standard deviations are of the range [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Family = Literal["imagenet-c", "cifar-c"]

FAMILIES: tuple[Family, ...] = ("imagenet-c", "cifar-c")
SEVERITIES = (1, 2, 3, 4, 5)

GROUPS: Mapping[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "validation": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
"""The four groups of the benchmark, and the kinds that were published for choosing settings on."""
COMMON = tuple(kind for group, kinds in GROUPS.items() if group != "validation" for kind in kinds)
"""The fifteen kinds over which the mean corruption error is taken."""
KINDS = (*COMMON, *GROUPS["validation"])

PARAMETERS: Mapping[Family, Mapping[str, tuple[Any, ...]]] = {
    "imagenet-c": {
        # Standard deviation.
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        # Photons at full brightness.
        "shot_noise": (60, 25, 12, 5, 3),
        # Share of values that become black or white.
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        # Radius of the disc, standard deviation of its own blur.
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        # Standard deviation of the blur, farthest exchange, rounds.
        "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        # Radius, standard deviation along the line.
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        # Largest zoom (not reached), step.
        "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        # Mean and standard deviation of the flakes, zoom, threshold, radius and deviation of their fall, weight.
        "snow": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        # Weights of the picture and of the frost.
        "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        # Weight of the fog, decay of its detail.
        "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        # Added to the value of HSV.
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        # Share of the contrast that is left.
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        # Displacement, deviation of its smoothing, jitter of the affine map; the authors' 244 for 224 is kept.
        "elastic_transform": tuple(
            (244 / 224 * a, 244 / 224 * b, 244 / 224 * c)
            for a, b, c in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
        # Share of the side that is left.
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        # Quality.
        "jpeg_compression": (25, 18, 15, 10, 7),
        # Standard deviation relative to the value.
        "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
        # Standard deviation.
        "gaussian_blur": (1, 2, 3, 4, 6),
        # Mean, deviation and blur of the liquid, threshold, strength or blur, mud rather than water.
        "spatter": (
            (0.65, 0.3, 4, 0.69, 0.6, False),
            (0.65, 0.3, 3, 0.68, 0.6, False),
            (0.65, 0.3, 2, 0.68, 0.5, False),
            (0.65, 0.3, 1, 0.65, 1.5, True),
            (0.67, 0.4, 1, 0.65, 1.5, True),
        ),
        # Factor and offset of HSV's saturation.
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    },
    "cifar-c": {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "elastic_transform": (
            (0, 0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": (80, 65, 58, 50, 40),
        "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
        "spatter": (
            (0.62, 0.1, 0.7, 0.7, 0.5, False),
            (0.65, 0.1, 0.8, 0.7, 0.5, False),
            (0.65, 0.3, 1, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
        "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    },
}

ALEXNET_ERRORS: Mapping[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's top-1 error on ImageNet-C, mean over severities, as published with the benchmark."""
