"""The public package imagecorruptions 1.1.2 as a reference, and the vectors that the tests hold ours against.

    python -m benchmarks.corruptions_reference   # writes tests/unit/numerics/corruptions_reference.json

Three of its nineteen kinds call what NumPy 2 and scikit-image no longer have; they are given it back here, which
changes no number. CIFAR-C's parameters are put into the same functions.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import itertools
import json
import re
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.numerics.corruptions.parameters import FAMILIES, PARAMETERS, SEVERITIES, Family

FIXED = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
)
"""The kinds without chance."""
DRAWN = ("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "fog")
DRAWN_TOO = ("speckle_noise", "spatter")
"""The random kinds; elastic transforms are others in the package, and frost is a photograph."""
SIDES: dict[Family, tuple[int, int]] = {"imagenet-c": (96, 112), "cifar-c": (32, 32)}
DRAWS = 200
TARGET = Path(__file__).parents[1] / "tests/unit/numerics/corruptions_reference.json"


def package() -> Any:
    """Import `imagecorruptions.corruptions`, made to work on today's libraries."""
    warnings.simplefilter("ignore")
    found = importlib.util.find_spec("imagecorruptions")
    if found is None or found.origin is None:
        raise SystemExit("The benchmark needs: pip install --no-deps imagecorruptions==1.1.2 opencv-python-headless")
    home = Path(found.origin).parent
    np.float_ = np.float64  # type: ignore[attr-defined]
    resources = types.ModuleType("pkg_resources")
    resources.resource_filename = lambda _name, path: str(home / path)  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", resources)
    module = importlib.import_module("imagecorruptions.corruptions")
    plain = module.gaussian

    def gaussian(values: Any, sigma: Any, multichannel: bool = False, **rest: Any) -> Any:
        return plain(values, sigma=sigma, **rest, **({"channel_axis": -1} if multichannel else {}))

    module.gaussian = gaussian  # type: ignore[attr-defined]
    return module


@functools.cache
def reference(kind: str, family: Family) -> Any:
    """The package's function of that kind, with the parameters of `family`."""
    module = package()
    if family == "imagenet-c":
        return getattr(module, kind)
    values: Any = PARAMETERS[family][kind]
    if kind == "zoom_blur":
        values = [np.arange(1, *pair) for pair in values]
    source = inspect.getsource(getattr(module, kind))
    text = re.sub(r"c = \[.*?\]\[\s*severity - 1\]", "c = OWN[severity - 1]", source, flags=re.DOTALL)
    space = {**vars(module), "OWN": values}
    exec(text, space)
    return space[kind]


def corrupted(picture: NDArray[np.uint8], kind: str, severity: int, family: Family) -> NDArray[np.uint8]:
    """What the package makes of a picture uint8 [h, w, 3]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.uint8(reference(kind, family)(Image.fromarray(picture), severity))  # type: ignore[return-value]


def picture(family: Family) -> NDArray[np.uint8]:
    """A picture of integer arithmetic: slopes, fine texture, flat white, black and coloured parts."""
    height, width = SIDES[family]
    y, x = np.mgrid[:height, :width]
    red = (y * 255 // (height - 1) + (x * 7 + y * 3) % 31) // 2 + 40
    green = (x * 255 // (width - 1) + (x * x + y * y) // 9 % 64) // 2 + 20
    blue = (x * y // 5) % 200 + 28
    found = np.stack([red, green, blue], axis=-1)
    found[: height // 6, : width // 4] = 255
    found[-height // 6 :, -width // 4 :] = 0
    found[: height // 6, -width // 4 :] = (200, 30, 90)
    return found.clip(0, 255).astype(np.uint8)


def bands(change: NDArray[np.float64]) -> list[float]:
    """Power of a grey picture [h, w] in five octaves of frequency, in units of the values' square."""
    power = np.abs(np.fft.fft2(change)) ** 2 / change.size**2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(change.shape[0]), np.fft.fftfreq(change.shape[1]), indexing="ij"))
    edges = [1e-9, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1]
    return [float(power[(radius >= low) & (radius < high)].sum()) for low, high in itertools.pairwise(edges)]


def moments(draws: NDArray[np.float64]) -> dict[str, Any]:
    """Mean, spread and spectrum of draws [n, h, w, 3], each with the standard error over draws."""
    grey = draws.mean(axis=3)
    found = np.array([[one.mean(), draw.std(), *bands(one)] for one, draw in zip(grey, draws, strict=True)])
    return {"values": found.mean(0).round(5).tolist(), "errors": (found.std(0) / len(found) ** 0.5).round(5).tolist()}


def digest(found: NDArray[np.uint8]) -> str:
    """SHA-256 of a picture uint8 [h, w, 3]."""
    return hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()


def main() -> None:
    """Write the vectors."""
    fixed = {
        f"{family}/{kind}/{severity}": digest(corrupted(picture(family), kind, severity, family))
        for family in FAMILIES
        for kind in FIXED
        for severity in SEVERITIES
    }
    drawn = {}
    for family in FAMILIES:
        for kind in (*DRAWN, *DRAWN_TOO):
            for severity in (1, 3, 5):
                np.random.seed(severity)
                count = DRAWS if kind != "glass_blur" else 40
                draws = [corrupted(picture(family), kind, severity, family) for _ in range(count)]
                drawn[f"{family}/{kind}/{severity}"] = moments(np.stack(draws).astype(np.float64))
    TARGET.write_text(json.dumps({"fixed": fixed, "drawn": drawn}, indent=1) + "\n")


if __name__ == "__main__":
    main()
