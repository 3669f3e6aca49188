"""One example: its bytes are read, decoded once, hashed, and made into a thumbnail."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from app.errors import UserError
from app.loaders.datasets.contents import FOREIGN_IMAGES, ending
from app.loaders.datasets.items import SourceItem
from app.loaders.images import FORMATS, decode_rgb, image_size

THUMBNAIL_PIXELS = 160
# Above this, decoding a JPEG whole costs more than finding its twin in another file format is worth.
_WHOLE_PIXELS = 4_000_000
_DRAFT_PIXELS = 512
_WEBP_QUALITY = 78
_WEBP_EFFORT = 2
_ENDINGS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "MPO": ("jpg", "jpeg", "jpe", "mpo"),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
}


@dataclass(slots=True)
class Example:
    """What an import keeps of one example.

    `pixels` is a 64-bit hash of the decoded pixels; `deviation` the standard deviation of the thumbnail's grey values
    in [0, 255] (infinite without an image); `renamed` says that the file's ending names another format than its bytes.
    """

    item: SourceItem
    data: bytes
    thumbnail: bytes
    sha256: bytes
    pixels: int
    width: int = 0
    height: int = 0
    deviation: float = float("inf")
    renamed: bool = False


@dataclass(slots=True)
class Refusal:
    """An example that is set aside, and why."""

    path: str
    reason: str


def examine(item: SourceItem, max_pixels: int) -> Example | Refusal:
    """Read one example; whatever is wrong with it is an answer, not an error."""
    if item.problem is not None:
        return Refusal(item.path, item.problem)
    if item.embedding is not None and not np.isfinite(item.embedding).all():
        return Refusal(item.path, "The embedding holds NaN or infinity.")
    if item.load is None:
        return _without_image(item)
    try:
        return _with_image(item, item.load(), max_pixels)
    except UserError as error:
        return Refusal(item.path, _reason(item.path, error.message))
    except Exception as error:  # a decoder's bug over hostile bytes must not end the import
        return Refusal(item.path, f"The file cannot be read: {type(error).__name__}: {error}"[:300])


def _without_image(item: SourceItem) -> Example:
    content = item.embedding.tobytes() if item.embedding is not None else (item.example_id or item.path).encode()
    digest = hashlib.sha256(content).digest()
    return Example(item, b"", b"", digest, int.from_bytes(digest[:8], "little"))


def _with_image(item: SourceItem, data: bytes, max_pixels: int) -> Example:
    width, height = image_size(data, max_pixels)
    image = decode_rgb(data, max_pixels, draft=_DRAFT_PIXELS if width * height > _WHOLE_PIXELS else None)
    thumbnail = image.copy()
    thumbnail.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BILINEAR, reducing_gap=2.0)
    with Image.open(io.BytesIO(data), formats=FORMATS) as header:
        form = header.format or ""
        width, height = _upright_size(header) if form in ("JPEG", "MPO") else image.size
    return Example(
        item=item,
        data=data,
        thumbnail=_webp(thumbnail),
        sha256=hashlib.sha256(data).digest(),
        pixels=_hash_pixels(image),
        width=width,
        height=height,
        deviation=float(np.asarray(thumbnail.convert("L")).std()),
        renamed=ending(item.path) not in ("", *_ENDINGS.get(form, (form.lower(),))),
    )


def _upright_size(header: Image.Image) -> tuple[int, int]:
    """Width and height after the EXIF orientation, which a JPEG decoded at a fraction of its size cannot tell."""
    turned = header.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (header.height, header.width) if turned else (header.width, header.height)


def _hash_pixels(image: Image.Image) -> int:
    digest = hashlib.blake2b(image.tobytes(), digest_size=8, salt=f"{image.width}x{image.height}".encode()[:16])
    return int.from_bytes(digest.digest(), "little")


def _webp(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_EFFORT)
    return target.getvalue()


def _reason(path: str, message: str) -> str:
    if ending(path) in FOREIGN_IMAGES:
        return f"{ending(path).upper()} images are not read; convert it to JPEG or PNG."
    return message
