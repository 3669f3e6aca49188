"""From the bytes of any image file to RGB pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from app.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "ICO")
MAX_PIXELS = 80_000_000

# `decode_rgb` checks the size itself, per call; Pillow's own limit is one global that warns instead of refusing.
Image.MAX_IMAGE_PIXELS = None
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)


class BadImage(UserError):
    """The bytes are not an image that can be shown; the message says why."""


def decode_rgb(data: bytes, max_pixels: int = MAX_PIXELS, *, draft: int | None = None) -> Image.Image:
    """Decode one image file (first frame) to 8-bit RGB, turned upright by its EXIF orientation.

    Palette, grayscale, CMYK, 16-bit and alpha images are converted; alpha is dropped, as training pipelines
    do. `draft` lets a JPEG be decoded at a fraction of its size, never below `draft` pixels on its short side.

    Raises:
        BadImage: not an image, an unknown format, damaged, or more than `max_pixels` pixels.
    """
    image = _open(data)
    _check_size(image, max_pixels)
    try:
        if draft is not None and image.format in ("JPEG", "MPO"):
            image.draft("RGB", (draft, draft))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)
    except _BROKEN as error:
        raise BadImage(f"The image is damaged: {_reason(error)}.") from error
    except MemoryError as error:
        raise BadImage(f"The image of {image.width} × {image.height} pixels does not fit in memory.") from error


def image_size(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) as stored, from the header alone.

    Raises:
        BadImage: not an image, or more than `max_pixels` pixels.
    """
    image = _open(data)
    _check_size(image, max_pixels)
    return image.size


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("The image file is empty (0 bytes).")
    try:
        # Named formats only: others, such as EPS, would start an interpreter of their own.
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise BadImage(
            "This is not an image in a known format (JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF)."
        ) from error
    except _BROKEN as error:
        raise BadImage(f"The image's header is damaged: {_reason(error)}.") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(
            f"The image has {width} × {height} pixels; the limit is {max_pixels:,} pixels. Store a smaller copy."
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and float grey to 8 bits; integers span 16 bits, floats [0, 1] or [0, 255]."""
    values = np.asarray(image, dtype=np.float32)
    scale = 255.0 / 65535.0
    if image.mode == "F":
        scale = 255.0 if values.max(initial=0.0) <= 1.0 else 1.0
    grey = np.clip(np.nan_to_num(values) * scale + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _reason(error: BaseException) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    return text[:200]
