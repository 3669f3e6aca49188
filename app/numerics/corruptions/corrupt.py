"""One way to corrupt a batch of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from app.numerics.corruptions import blur, colour, digital, noise, weather
from app.numerics.corruptions.draws import Draws
from app.numerics.corruptions.glass import glass_blur
from app.numerics.corruptions.parameters import FAMILIES, KINDS, PARAMETERS, SEVERITIES, Family
from app.numerics.corruptions.spatter import spatter

_AT_ONCE = 200_000
"""Values of a batch that are worked on together on a CPU: more would leave its cache."""

_FUNCTIONS: Mapping[str, Callable[[Tensor, Any, Draws], Tensor]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "fog": weather.fog,
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter,
    "saturate": colour.saturate,
}


def corrupt(
    pictures: Tensor,
    kind: str,
    severity: int,
    *,
    family: Family,
    rows: Sequence[int],
    seed: int = 0,
) -> Tensor:
    """Corrupt a batch.

    Args:
        pictures: [n, 3, h, w] on any device, red, green, blue; uint8, or float in [0, 1], which is rounded to 8 bits
            first: the corruptions are defined on such pictures. Neither side shorter than 8.
        kind: one of `parameters.KINDS`.
        severity: 1 to 5.
        family: whose parameters; ImageNet-C's are meant for about 224 pixels, CIFAR-C's for 32.
        rows: [n] what each picture's random numbers hang on, beside seed, kind and severity: neither the batch nor
            the device matters.
        seed: the draw.

    Returns:
        uint8 of the same shape, values truncated as in the published data; float in [0, 1] where floats were given.

    Raises:
        ValueError: an unknown kind, severity or family, or pictures of another form.
    """
    _check(pictures, kind, severity, family, rows)
    if pictures.is_floating_point():
        whole = (pictures * 255).round().clamp(0, 255).to(torch.uint8)
        found = corrupt(whole, kind, severity, family=family, rows=rows, seed=seed)
        return found.to(pictures.dtype) / 255
    function = partial(weather.frost, family=family) if kind == "frost" else _FUNCTIONS[kind]
    parameters = PARAMETERS[family][kind][severity - 1]
    parts = []
    for start in range(0, len(pictures), size := _at_once(pictures)):
        part = pictures[start : start + size]
        draws = Draws(seed, kind, severity, rows[start : start + size], pictures.device)
        parts.append(function(part, parameters, draws).to(torch.uint8))
    return torch.cat(parts) if parts else pictures.clone()


def _at_once(pictures: Tensor) -> int:
    if pictures.device.type != "cpu":
        return max(len(pictures), 1)
    return max(_AT_ONCE // max(pictures[0].numel() if len(pictures) else 1, 1), 1)


def _check(pictures: Tensor, kind: str, severity: int, family: str, rows: Sequence[int]) -> None:
    if kind not in KINDS:
        raise ValueError(f"There is no corruption “{kind}”; there are {', '.join(KINDS)}.")
    if severity not in SEVERITIES:
        raise ValueError(f"A severity is a whole number from 1 to 5, not {severity}.")
    if family not in FAMILIES:
        raise ValueError(f"There is no family “{family}”; there are {' and '.join(FAMILIES)}.")
    if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < 8:
        raise ValueError(f"Pictures are [n, 3, h, w] of at least 8 × 8 pixels, not {list(pictures.shape)}.")
    if pictures.dtype != torch.uint8 and not pictures.is_floating_point():
        raise ValueError(f"Pictures are uint8 or float, not {pictures.dtype}.")
    if len(rows) != len(pictures):
        raise ValueError(f"{len(rows)} rows for {len(pictures)} pictures.")
