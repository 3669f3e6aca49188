"""Images of every kind come in; a bad one is set aside with its reason and ends nothing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from dataset_files import class_folders, encode, huge_png, picture, write_folder, write_zip
from dataset_import import Import
from PIL import Image, ImageDraw

GOOD = class_folders()
GRADIENT = Image.fromarray(np.linspace(0, 255, 60 * 40).reshape(40, 60).astype(np.uint8))


def thumbnail(done: object, path: str) -> Image.Image:
    row = next(row for row in done.rows if row["path"] == path)
    image = Image.open(io.BytesIO(done.images.thumbnail(row["row"])))
    assert image.format == "WEBP"
    return image


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty (0 bytes)"),
        (b"<html>not found</html>", "not an image in a known format"),
        (b"PK\x03\x04 a zip", "not an image in a known format"),
        (picture(1)[:200], "damaged"),
        (picture(1, 200, 200, "JPEG")[:5000], "damaged"),
        (picture(1)[:20] + b"\xff" * 20, "damaged|not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a known format"),
        (b"GIF89a", "damaged|not an image"),
        (b"\x89PNG\r\n\x1a\n", "damaged|not an image"),
    ],
)
def test_a_bad_image_is_set_aside(tmp_path: Path, run_import: Import, data: bytes, reason: str) -> None:
    done = run_import(write_folder(tmp_path / "x", {**GOOD, "cat/bad.jpg": data}))
    assert done.result.rows == 4
    assert done.result.set_aside == 1
    assert any(part in done.aside["cat/bad.jpg"] for part in reason.split("|")), done.aside
    assert done.items["unreadable"].examples == ["cat/bad.jpg"]
    assert done.items["unreadable"].sentence.startswith("1 file set aside:")


def test_a_png_of_40000_pixels_squared_is_not_decoded(tmp_path: Path, run_import: Import) -> None:
    bomb = huge_png()
    assert len(bomb) < 1_000_000
    done = run_import(write_zip(tmp_path / "x.zip", {**GOOD, "dog/huge.png": bomb}))
    assert done.aside == {
        "dog/huge.png": "The image has 40000 × 40000 pixels; the limit is 80,000,000 pixels. Store a smaller copy."
    }


def test_the_pixel_limit_is_a_setting(tmp_path: Path, run_import: Import) -> None:
    done = run_import(
        write_folder(tmp_path / "x", GOOD | {"cat/large.png": picture(1, 40, 40)}), limits={"max_pixels": 1000}
    )
    assert "40 × 40 pixels; the limit is 1,000" in done.aside["cat/large.png"]


@pytest.mark.parametrize("suffix", ["heic", "dng", "svg"])
def test_formats_that_are_not_read_are_named(tmp_path: Path, run_import: Import, suffix: str) -> None:
    done = run_import(write_folder(tmp_path / "x", {**GOOD, f"cat/a.{suffix}": b"\0\0\0\x18ftypheic"}))
    assert done.aside[f"cat/a.{suffix}"] == f"{suffix.upper()} images are not read; convert it to JPEG or PNG."


def test_only_bad_images_is_an_error_with_the_reasons(tmp_path: Path, run_import: Import) -> None:
    with pytest.raises(Exception, match=r"No example could be read \(2 were set aside\).*empty \(0 bytes\)"):
        run_import(write_folder(tmp_path / "x", {"cat/a.png": b"", "dog/b.png": b""}))


def kinds() -> dict[str, bytes]:
    """The same grey ramp in every mode that image files have."""
    deep = Image.fromarray(np.asarray(GRADIENT).astype(np.uint16) * 257)
    alpha = GRADIENT.convert("RGBA")
    alpha.putalpha(GRADIENT.rotate(90, expand=False))
    palette = GRADIENT.convert("P")
    palette.info["transparency"] = 3
    frames = [GRADIENT.convert("P"), GRADIENT.rotate(180).convert("P")]
    return {
        "gray.png": encode(GRADIENT, "PNG"),
        "gray.jpg": encode(GRADIENT, "JPEG", quality=95),
        "gray16.png": encode(deep, "PNG"),
        "gray16.tif": encode(deep, "TIFF"),
        "cmyk.jpg": encode(GRADIENT.convert("RGB").convert("CMYK"), "JPEG", quality=95),
        "palette.gif": encode(palette, "GIF"),
        "palette alpha.png": encode(palette, "PNG", transparency=3),
        "alpha.png": encode(alpha, "PNG"),
        "gray alpha.png": encode(alpha.convert("LA"), "PNG"),
        "alpha.webp": encode(alpha, "WEBP", lossless=True, exact=True),
        "animated.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.webp": encode(
            frames[0].convert("RGB"), "WEBP", save_all=True, append_images=frames[1:], lossless=True
        ),
        "animated.png": encode(frames[0].convert("RGB"), "PNG", save_all=True, append_images=frames[1:]),
        "bits.png": encode(GRADIENT.convert("1"), "PNG"),
        "plain.bmp": encode(GRADIENT.convert("RGB"), "BMP"),
        "plain.ppm": encode(GRADIENT.convert("RGB"), "PPM"),
        "progressive.jpg": encode(GRADIENT, "JPEG", quality=95, progressive=True),
    }


@pytest.mark.parametrize("name", list(kinds()))
def test_every_kind_of_image_comes_in(tmp_path: Path, run_import: Import, name: str) -> None:
    done = run_import(write_folder(tmp_path / "x", {f"cat/{name}": kinds()[name]}))
    (row,) = done.rows
    assert (row["width"], row["height"]) == (60, 40)
    assert done.aside == {}
    small = thumbnail(done, f"cat/{name}").convert("L")
    assert small.size == (60, 40)
    # Blocks of 10 × 10 pixels, so that dithered black and white is grey again.
    difference = np.subtract(small.reduce(10), GRADIENT.reduce(10), dtype=np.float32)
    assert np.abs(difference).max() < 16
    assert done.images.original(0) == kinds()[name]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("width", "height"), [(60, 40), (3000, 2000)])
def test_exif_rotation(tmp_path: Path, run_import: Import, orientation: int, width: int, height: int) -> None:
    upright = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(upright).rectangle((0, 0, width // 2, height // 2), fill="black")  # the dark corner is top left
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    done = run_import(write_folder(tmp_path / "x", {"cat/a.jpg": encode(stored, "JPEG", exif=exif)}))
    assert (done.rows[0]["width"], done.rows[0]["height"]) == (width, height)
    small = np.asarray(thumbnail(done, "cat/a.jpg").convert("L"))
    middle, centre = small.shape[0] // 2, small.shape[1] // 2
    assert small[: middle - 2, : centre - 2].mean() < 10
    assert min(small[middle + 2 :].mean(), small[:, centre + 2 :].mean()) > 240


def test_thumbnails_are_160_pixels_and_never_enlarged(tmp_path: Path, run_import: Import) -> None:
    files = {
        "cat/wide.jpg": picture(1, 640, 100, "JPEG"),
        "cat/tall.png": picture(2, 50, 300),
        "cat/tiny.png": picture(3, 8, 8),
    }
    done = run_import(write_folder(tmp_path / "x", files))
    assert {path: thumbnail(done, path).size for path in files} == {
        "cat/wide.jpg": (160, 25),
        "cat/tall.png": (27, 160),
        "cat/tiny.png": (8, 8),
    }


def test_a_png_named_jpg_comes_in_and_is_noted(tmp_path: Path, run_import: Import) -> None:
    done = run_import(
        write_folder(tmp_path / "x", {**GOOD, "cat/lie.jpg": picture(5), "cat/true.JPEG": picture(6, form="JPEG")})
    )
    assert done.result.rows == 6
    assert done.items["ending_differs"].examples == ["cat/lie.jpg"]


def test_images_without_an_ending(tmp_path: Path, run_import: Import) -> None:
    done = run_import(write_folder(tmp_path / "x", {"cat/a": picture(1), "dog/b": picture(2, form="WEBP")}))
    assert done.labels == {"cat/a": "cat", "dog/b": "dog"}
    assert "ending_differs" not in done.items


def test_one_image_is_a_data_set(tmp_path: Path, run_import: Import) -> None:
    done = run_import(write_folder(tmp_path / "x", {"cat/a.png": picture(1)}))
    assert (done.result.rows, done.result.classes) == (1, ["cat"])
    assert done.items["one_class"].sentence == "All labelled rows belong to the class 'cat'."
    assert done.items["tiny_split"].examples == ["all (1 rows)"]


def test_unicode_and_spaces_in_every_name(tmp_path: Path, run_import: Import) -> None:
    files = {
        f"日本 語/тест {split}/Käse & 'Brot'/bild \"{i}\" 🐈.png": picture(i * 7 + len(split))
        for split in ("a b", "ü")
        for i in range(2)
    }
    files = {path.replace("тест a b", "train").replace("тест ü", "test"): data for path, data in files.items()}
    folder = write_folder(tmp_path / "ein Ordner é", files)
    archive = write_zip(tmp_path / "ein Archiv ñ.zip", files)
    for done in (run_import(folder), run_import(archive)):
        assert {row["path"] for row in done.rows} == files.keys()
        assert done.result.classes == ["Käse & 'Brot'"]
        assert [split.name for split in done.result.splits] == ["train", "test"]
        assert done.images.original(done.rows[0]["row"]) == files[done.rows[0]["path"]]
