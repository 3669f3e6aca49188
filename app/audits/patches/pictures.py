"""A picture as the network gets it, small, for pages."""

from __future__ import annotations

import io

from PIL import Image
from torch import Tensor

_LONGEST = 160
_LOSSLESS = 64


def picture_file(picture: Tensor) -> bytes:
    """A WebP file of uint8 [3, h, w]."""
    image, target = Image.fromarray(picture.permute(1, 2, 0).cpu().numpy().copy()), io.BytesIO()
    image.thumbnail((_LONGEST, _LONGEST))
    image.save(target, "WEBP", quality=80, lossless=max(image.size) <= _LOSSLESS)
    return target.getvalue()
