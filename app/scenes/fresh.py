"""Unbiased pictures of other seeds than the demo's, drawn once and kept outside the repository's history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.scenes.planting import plan_fresh
from app.scenes.spec import Factors

DRAWN_SIZE = 112
"""Pixels a side at which the demo's pictures are drawn."""


def fresh_pictures(
    count: int, seed: int, size: int, cache: Path = Path("build")
) -> tuple[NDArray[np.uint8], list[Factors]]:
    """Pictures (count, size, size, 3) uint8 and their factors; drawn at the demo's size, then resized bicubically."""
    scenes = plan_fresh(count, seed)
    held = cache / f"scenes-{seed}-{count}-{size}.npy"
    if not held.exists():
        from app.scenes.render import Renderer  # noqa: PLC0415  a cached set needs no graphics library

        cache.mkdir(parents=True, exist_ok=True)
        with Renderer(DRAWN_SIZE) as renderer:
            drawn = [Image.fromarray(renderer.render(scene)) for scene in scenes]
        small = [np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)) for picture in drawn]
        np.save(held, np.stack(small))
    return np.load(held), [scene.factors for scene in scenes]
