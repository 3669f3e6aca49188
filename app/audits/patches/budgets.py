"""What each budget runs, on which images, and what it leaves out. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from app.audits.patches.schema import Budget, Method, Params

_WHOLE = 224
"""Side of an image that the estimate of `passes` expects where every column is asked for."""
_SMALL = 64
_TOKENS = 5
"""How many times as long a whole image takes as the tokens of a band."""


@dataclass(frozen=True)
class Effort:
    """Settings of a budget."""

    rows: int
    """Images drawn at random."""
    masks: int
    """Along each axis, at most."""
    columns: int
    """Bands, at most; 0: one at every pixel."""
    blocks: int
    """Along each axis, at most; 0: none."""
    mapped: int
    """Images of which maps are made."""
    leaves_out: str


EFFORTS: Mapping[Budget, Effort] = {
    "quick": Effort(
        100, 3, 32, 0, 24,
        "block smoothing, masks finer than 3 × 3 (the published number is 6 × 6) and, on images wider than 32 pixels, "
        "columns closer together: what it certifies holds, and finer settings may certify other images too",
    ),
    "standard": Effort(
        500, 6, 64, 16, 100,
        "columns and blocks closer together than 64 and 16 × 16 to an image: what it certifies holds",
    ),
    "thorough": Effort(
        2000, 6, 0, 32, 100,
        "no column; on images wider than 32 pixels blocks closer together than 32 × 32 to an image",
    ),
}  # fmt: skip


def passes(params: Params, rows: int) -> int:
    """Images that the network is shown at most: every pair of masks at every size, and every band."""
    effort = EFFORTS[params.budget]
    masks = effort.masks**2
    # The second round asks pairs again for each mask that dissents; most images end far earlier.
    each = 1 + sum(
        {
            "two masks": len(params.sizes) * masks * (masks + 1) // 2,
            "columns": effort.columns or _WHOLE,
            "blocks": effort.blocks**2,
            "smoothed ViT": (effort.columns or _WHOLE) // _TOKENS,
        }[method]
        for method in params.methods
    )
    return min(rows, effort.rows) * each


def band_width(params: Params, method: Method, width: int) -> int:
    """Pixels that a band keeps."""
    if params.band:
        return params.band
    if width <= _SMALL and method != "smoothed ViT":
        return min(4, width)
    return max(1, round((19 if method == "smoothed ViT" else 25) / _WHOLE * width))


def stride(params: Params, method: Method, length: int) -> int:
    """Pixels from one band to the next along an axis."""
    effort = EFFORTS[params.budget]
    most = effort.blocks if method == "blocks" else effort.columns
    return params.stride or (math.ceil(length / most) if most else 1)
