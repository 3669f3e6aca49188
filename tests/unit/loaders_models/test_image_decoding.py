"""Every kind of image file becomes 8-bit RGB, or a sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from app.loaders.images import BadImage, decode_rgb, image_size


def encode(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "WEBP"])
def test_modes_and_formats(mode, kind):
    image = decode_rgb(encode(Image.new("RGB", (7, 5), (255, 255, 255)).convert(mode), kind))
    assert (image.mode, image.size) == ("RGB", (7, 5))
    assert np.asarray(image).min() == 255


def test_colour_is_kept():
    red = decode_rgb(encode(Image.new("P", (4, 4), 0).convert("RGB"), "BMP"))
    assert red.getpixel((0, 0)) == (0, 0, 0)
    assert decode_rgb(encode(Image.new("RGB", (4, 4), (10, 200, 30)))).getpixel((1, 1)) == (10, 200, 30)


def test_transparent_palette_keeps_its_colours():
    palette = Image.new("RGB", (4, 4), (200, 10, 10)).quantize(8)
    data = encode(palette, transparency=bytes([0, 128, 255]))
    assert decode_rgb(data).getpixel((0, 0)) == (200, 10, 10)


def test_cmyk_jpeg():
    image = decode_rgb(encode(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = image.getpixel((1, 1))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 255), (32768, 128), (257, 1)])
def test_sixteen_bit_grey_is_scaled(value, expected):
    pixels = np.full((3, 3), value, np.uint16)
    assert decode_rgb(encode(Image.fromarray(pixels))).getpixel((0, 0)) == (expected,) * 3


@pytest.mark.parametrize(("value", "expected"), [(0.5, 128), (1.0, 255), (200.0, 200), (float("nan"), 0)])
def test_float_grey(value, expected):
    data = encode(Image.fromarray(np.full((3, 3), value, np.float32)), "TIFF")
    assert decode_rgb(data).getpixel((0, 0)) == (expected,) * 3


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_rgb(data).getpixel((0, 0)) == (255, 0, 0)


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (8, 4), "black")
    image.paste("white", (0, 0, 2, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = decode_rgb(encode(image, exif=exif))
    assert upright.size == (4, 8)
    assert upright.getpixel((1, 0)) == (255, 255, 255)
    assert upright.getpixel((1, 7)) == (0, 0, 0)


@pytest.mark.parametrize("value", range(1, 9))
def test_every_exif_orientation_is_that_of_pillow_s_own_copy(value):
    pixels = np.random.default_rng(value).integers(0, 256, (5, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = value
    data = encode(Image.fromarray(pixels), exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(np.asarray(decode_rgb(data)), np.asarray(expected))


def test_draft_keeps_at_least_the_wanted_size():
    data = encode(Image.new("RGB", (1600, 1200)), "JPEG")
    assert decode_rgb(data).size == (1600, 1200)
    small = decode_rgb(data, draft=300)
    assert 300 <= min(small.size) < 1200


def test_a_bomb_is_refused_before_decoding():
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(BadImage, match="40000 × 40000 pixels; the limit is 80,000,000"):
        decode_rgb(data)
    with pytest.raises(BadImage):
        image_size(data)
    assert image_size(data, 2 * 10**9) == (40_000, 40_000)


JPEG = encode(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
PNG = encode(Image.effect_noise((64, 64), 50))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (PNG[: len(PNG) // 2], "damaged"),
        (PNG[:30], "damaged|not an image"),
        (PNG[:200] + b"\0" * 50 + PNG[250:], "damaged"),
        (b"\xff\xd8\xff", "not an image|damaged"),
    ],
)
def test_what_is_no_image_gets_a_sentence(data, words):
    with pytest.raises(BadImage, match=words) as caught:
        decode_rgb(data)
    assert caught.value.message.endswith(".")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(40))
def test_random_damage_never_raises_anything_else(seed):
    generator = np.random.default_rng(seed)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        data = bytearray(encode(Image.fromarray(generator.integers(0, 256, (20, 20, 3), np.uint8)), kind))
        for place in generator.integers(0, len(data), 6):
            data[place] = generator.integers(256)
        try:
            assert decode_rgb(bytes(data), 10**6).mode == "RGB"
        except BadImage:
            continue
