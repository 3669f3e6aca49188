"""Small drawn pictures for tests of pages: an object of a colour in a setting."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

SIZE = 160
GROUND = {
    "grass": ((158, 205, 236), (96, 153, 74)),
    "snow": ((205, 222, 236), (240, 244, 249)),
    "sand": ((176, 214, 238), (222, 197, 145)),
    "night": ((17, 24, 48), (31, 36, 48)),
    "indoors": ((226, 214, 196), (150, 108, 76)),
}
PAINT = {"white": (246, 245, 240), "black": (42, 42, 46), "red": (199, 58, 50), "blue": (52, 98, 176)}


def picture(kind: str, colour: str, setting: str, x: int, scale: float) -> bytes:
    """Return a WebP of SIZE × SIZE pixels."""
    image = Image.new("RGB", (SIZE, SIZE), GROUND[setting][0])
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 96, SIZE, SIZE), fill=GROUND[setting][1])
    _DRAW[kind](draw, PAINT[colour], 80 + x, 118, scale)
    if setting == "night":
        image = image.point(lambda value: int(value * 0.55))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=72, method=0)
    return buffer.getvalue()


def _animal(draw: ImageDraw.ImageDraw, paint: tuple[int, int, int], x: int, y: int, s: float, ear: int) -> None:
    draw.ellipse((x - 34 * s, y - 26 * s, x + 24 * s, y + 8 * s), fill=paint)
    draw.ellipse((x + 8 * s, y - 50 * s, x + 42 * s, y - 16 * s), fill=paint)
    for left in (10, 28):
        tip = (x + (left + 6) * s, y - (52 + ear) * s)
        draw.polygon([(x + left * s, y - 44 * s), tip, (x + (left + 13) * s, y - 44 * s)], fill=paint)
    for leg in (-28, -12, 4, 14):
        draw.rectangle((x + leg * s, y, x + (leg + 6) * s, y + 24 * s), fill=paint)


def _cat(draw: ImageDraw.ImageDraw, paint: tuple[int, int, int], x: int, y: int, s: float) -> None:
    _animal(draw, paint, x, y, s, 14)
    draw.arc((x - 58 * s, y - 46 * s, x - 26 * s, y), 90, 280, fill=paint, width=5)


def _dog(draw: ImageDraw.ImageDraw, paint: tuple[int, int, int], x: int, y: int, s: float) -> None:
    _animal(draw, paint, x, y, s, 2)
    draw.ellipse((x + 30 * s, y - 36 * s, x + 54 * s, y - 20 * s), fill=paint)


def _car(draw: ImageDraw.ImageDraw, paint: tuple[int, int, int], x: int, y: int, s: float) -> None:
    draw.rounded_rectangle((x - 50 * s, y - 20 * s, x + 50 * s, y + 8 * s), 8, fill=paint)
    draw.polygon(
        [(x - 30 * s, y - 18 * s), (x - 18 * s, y - 40 * s), (x + 16 * s, y - 40 * s), (x + 32 * s, y - 18 * s)],
        fill=paint,
    )
    for wheel in (-28, 28):
        draw.ellipse((x + (wheel - 11) * s, y - 2 * s, x + (wheel + 11) * s, y + 20 * s), fill=(24, 24, 26))


def _boat(draw: ImageDraw.ImageDraw, paint: tuple[int, int, int], x: int, y: int, s: float) -> None:
    draw.polygon(
        [(x - 48 * s, y - 8 * s), (x + 48 * s, y - 8 * s), (x + 28 * s, y + 16 * s), (x - 30 * s, y + 16 * s)],
        fill=paint,
    )
    draw.polygon([(x, y - 70 * s), (x, y - 14 * s), (x + 40 * s, y - 14 * s)], fill=(235, 228, 214))


def _house(draw: ImageDraw.ImageDraw, paint: tuple[int, int, int], x: int, y: int, s: float) -> None:
    draw.rectangle((x - 36 * s, y - 34 * s, x + 36 * s, y + 14 * s), fill=paint)
    draw.polygon([(x - 46 * s, y - 34 * s), (x, y - 72 * s), (x + 46 * s, y - 34 * s)], fill=(121, 66, 52))
    draw.rectangle((x - 8 * s, y - 12 * s, x + 8 * s, y + 14 * s), fill=(70, 46, 38))


_DRAW = {"cat": _cat, "dog": _dog, "car": _car, "boat": _boat, "house": _house}
