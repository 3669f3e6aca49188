"""Corruptions against the public package's vectors and against naive references, and what they do not depend on."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from app.numerics.corruptions.corrupt import corrupt
from app.numerics.corruptions.digital import elastic_transform
from app.numerics.corruptions.draws import Draws
from app.numerics.corruptions.edges import canny, distance
from app.numerics.corruptions.filters import smoothing_matrix
from app.numerics.corruptions.frost_texture import LOOKS, textures
from app.numerics.corruptions.glass import sources
from app.numerics.corruptions.parameters import (
    ALEXNET_ERRORS,
    COMMON,
    FAMILIES,
    KINDS,
    PARAMETERS,
    SEVERITIES,
    Family,
)
from benchmarks.corruptions_reference import digest, moments, picture

REFERENCE = json.loads((Path(__file__).parent / "corruptions_reference.json").read_text())
CPU = torch.device("cpu")


def pictures(family: Family, count: int = 1) -> torch.Tensor:
    return torch.from_numpy(picture(family)).permute(2, 0, 1).repeat(count, 1, 1, 1)


def noise_pictures(count: int, side: int = 24) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8))


def test_there_are_fifteen_kinds_and_four_with_five_severities_each() -> None:
    assert (len(COMMON), len(KINDS), set(ALEXNET_ERRORS)) == (15, 19, set(COMMON))
    for family in FAMILIES:
        assert set(PARAMETERS[family]) == set(KINDS)
        assert {len(values) for values in PARAMETERS[family].values()} == {5}


@pytest.mark.parametrize("name", sorted({key.rpartition("/")[0] for key in REFERENCE["fixed"]}))
def test_without_chance_every_pixel_is_the_public_package_s(name: str) -> None:
    family, kind = name.split("/")
    for severity in SEVERITIES:
        found = corrupt(pictures(family), kind, severity, family=family, rows=[0])
        assert digest(found[0].permute(1, 2, 0).numpy()) == REFERENCE["fixed"][f"{name}/{severity}"], severity


@pytest.mark.parametrize("name", sorted(REFERENCE["drawn"]))
def test_with_chance_mean_spread_and_spectrum_are_the_public_package_s(name: str) -> None:
    family, kind, severity = name.split("/")
    count = 100
    found = corrupt(pictures(family, count), kind, int(severity), family=family, rows=range(count), seed=1)
    own = moments(found.permute(0, 2, 3, 1).numpy().astype(np.float64))
    expected = REFERENCE["drawn"][name]
    distance_ = np.abs(np.array(own["values"]) - expected["values"])
    error = np.hypot(own["errors"], expected["errors"])
    assert (distance_ <= 4.5 * error + 0.01 * np.abs(expected["values"]) + 0.02).all(), (own, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_batch_nor_place_in_it_matters(kind: str) -> None:
    batch = noise_pictures(5)
    together = corrupt(batch, kind, 3, family="cifar-c", rows=[7, 3, 9, 4, 0], seed=2)
    alone = torch.cat(
        [corrupt(batch[i : i + 1], kind, 3, family="cifar-c", rows=[r], seed=2) for i, r in [(1, 3), (4, 0)]]
    )
    assert torch.equal(together[[1, 4]], alone)
    assert together.dtype == torch.uint8
    assert together.shape == batch.shape


@pytest.mark.parametrize("kind", [kind for kind in KINDS if f"cifar-c/{kind}" + "/1" not in REFERENCE["fixed"]])
def test_another_row_or_seed_is_another_draw(kind: str) -> None:
    batch = pictures("cifar-c", 2)
    first = corrupt(batch, kind, 5, family="cifar-c", rows=[1, 2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, corrupt(batch, kind, 5, family="cifar-c", rows=[1, 2], seed=1))


def test_pictures_need_not_be_square_and_floats_stay_floats() -> None:
    wide = noise_pictures(1, 40)[:, :, :24]
    for kind in KINDS:
        whole = corrupt(wide, kind, 2, family="imagenet-c", rows=[0])
        floats = corrupt(wide.float() / 255, kind, 2, family="imagenet-c", rows=[0])
        assert torch.equal((floats * 255).round().to(torch.uint8), whole), kind


@pytest.mark.parametrize("family", FAMILIES)
def test_the_smallest_pictures_are_corrupted_too(family: Family) -> None:
    tiny = noise_pictures(2, 8)
    for kind in KINDS:
        for severity in SEVERITIES:
            found = corrupt(tiny, kind, severity, family=family, rows=[0, 1])
            assert found.shape == tiny.shape, kind


def test_no_pictures_stay_no_pictures() -> None:
    none = torch.zeros(0, 3, 32, 32, dtype=torch.uint8)
    assert all(corrupt(none, kind, 1, family="cifar-c", rows=[]).shape == none.shape for kind in KINDS)


def test_severities_move_pictures_further() -> None:
    batch = pictures("imagenet-c", 2)
    for kind in ("gaussian_noise", "defocus_blur", "contrast", "jpeg_compression", "pixelate", "brightness"):
        moved = [
            (corrupt(batch, kind, s, family="imagenet-c", rows=[0, 1]).float() - batch).abs().mean() for s in (1, 3, 5)
        ]
        assert moved[0] < moved[1] < moved[2], kind


def test_glass_follows_the_chain_as_a_loop_over_pixels_does() -> None:
    height, width, farthest = 12, 15, 2
    values = np.random.default_rng(1).integers(0, 1000, (height, width))
    shifts = np.random.default_rng(2).integers(-farthest, farthest, (1, 2, height - 2 * farthest, width - 2 * farthest))
    found = values.flatten()[sources(torch.from_numpy(shifts), farthest, height, width)[0].numpy()]
    for row in range(height - farthest, farthest, -1):
        for column in range(width - farthest, farthest, -1):
            right, down = shifts[0, :, row - farthest - 1, column - farthest - 1]
            values[row, column] = values[row + down, column + right]
    assert np.array_equal(found.reshape(height, width), values)


def test_smoothing_matrices_are_scipy_s() -> None:
    line = np.random.default_rng(0).normal(size=20)
    for deviation, mirrored in ((1.5, True), (40.0, True), (2.0, False)):
        matrix = smoothing_matrix(20, deviation, 3.0, mirrored=mirrored, device=CPU).numpy()
        mode = "reflect" if mirrored else "nearest"
        expected = ndimage.gaussian_filter1d(line, deviation, mode=mode, truncate=3.0)
        np.testing.assert_allclose(matrix @ line, expected, atol=1e-5)


def test_distance_is_scipy_s_up_to_its_end() -> None:
    marked = np.random.default_rng(0).random((3, 30, 25)) < 0.01
    marked[2] = False
    found = distance(torch.from_numpy(marked), 6).numpy()
    for one, expected in zip(found[:2], marked[:2], strict=True):
        np.testing.assert_allclose(one, np.minimum(ndimage.distance_transform_edt(~expected), 6), atol=1e-5)
    assert (found[2] == 6).all()


def test_edges_of_a_square_are_its_thin_outline() -> None:
    grey = np.zeros((2, 20, 20), dtype=np.uint8)
    grey[0, 5:15, 5:15] = 200
    grey[1, 5:15, 5:15] = 10
    found = canny(torch.from_numpy(grey), 50, 150).numpy()
    assert not found[1].any()
    assert 28 <= found[0].sum() <= 44
    assert not found[0, 8:12, 8:12].any()


def test_elastic_transform_is_scipy_s_with_the_same_draws() -> None:
    side = 24
    batch = noise_pictures(1, side)
    a, deviation, jitter = 0.08, 0.06, 0.06
    found = elastic_transform(batch, (a, deviation, jitter), Draws(0, "elastic_transform", 3, [5], CPU))[0].numpy()
    draws = Draws(0, "elastic_transform", 3, [5], CPU)
    middle, reach = side // 2, side // 3
    start = np.array([[middle + reach] * 2, [middle + reach, middle - reach], [middle - reach] * 2], dtype=float)
    end = start + (draws.uniform(3, 2)[0].double().numpy() * 2 - 1) * jitter * side
    # Three pairs of points settle the map from the result back to the picture.
    back = np.linalg.solve(np.c_[end, np.ones(3)], start).T
    y, x = np.mgrid[:side, :side].astype(float)
    straight = np.einsum("ij,jhw->ihw", back, np.stack([x, y, np.ones_like(x)]))
    moved = [ndimage.map_coordinates(c.astype(float), straight[::-1], order=1, mode="mirror") for c in batch[0].numpy()]
    noise = draws.uniform(2, side, side)[0].double().numpy() * 2 - 1
    dx, dy = (ndimage.gaussian_filter(n, deviation * side, mode="reflect", truncate=3) * a * side for n in noise)
    expected = [ndimage.map_coordinates(c, [y + dy, x + dx], order=1, mode="reflect") for c in moved]
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=0.05)


@pytest.mark.parametrize("scale", [1, 5])
def test_frost_has_the_look_of_the_photographs(scale: int) -> None:
    found = textures(scale).numpy()
    assert found.shape == (5, 3, 640 // scale, 640 // scale)
    for texture, (mean, deviation) in zip(found, LOOKS, strict=True):
        np.testing.assert_allclose(texture.mean(axis=(1, 2)), mean, atol=3)
        if scale == 1:
            assert texture.mean(axis=0).std() == pytest.approx(deviation, rel=0.1)


def test_frost_s_spectrum_falls_as_that_of_the_photographs() -> None:
    grey = textures(1).numpy().mean(axis=1)
    power = (np.abs(np.fft.fft2(grey)) ** 2).mean(axis=0)
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(640)] * 2, indexing="ij"))
    edges = [2**k / 256 for k in range(1, 8)]
    bands = [power[(radius >= low) & (radius < high)].mean() for low, high in itertools.pairwise(edges)]
    slope = np.polyfit(np.arange(len(bands)), np.log2(bands), 1)[0]
    assert -2.1 < slope < -1.2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "hail"}, "no corruption “hail”"),
        ({"severity": 6}, "from 1 to 5"),
        ({"family": "mnist-c"}, "no family"),
        ({"rows": [1, 2]}, "2 rows for 1"),
        ({"pictures": torch.zeros(1, 1, 32, 32)}, "[n, 3, h, w]"),
        ({"pictures": torch.zeros(1, 3, 32, 32, dtype=torch.int64)}, "uint8 or float"),
    ],
)
def test_what_cannot_be_corrupted_is_said(change: dict[str, object], sentence: str) -> None:
    given = {"pictures": pictures("cifar-c"), "kind": "fog", "severity": 1, "family": "cifar-c", "rows": [0]} | change
    with pytest.raises(ValueError, match=sentence.replace("[", r"\[")):
        corrupt(given.pop("pictures"), given.pop("kind"), given.pop("severity"), **given)
