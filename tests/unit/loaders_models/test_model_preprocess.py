"""Our steps against torchvision's transforms on the same Pillow images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from app.loaders.images import BadImage
from app.loaders.models.preprocess import Inputs, draft_size, to_input, to_pixels
from app.loaders.models.spec import Preprocessing

MODES = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}


def photo(width, height, seed=0):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(100, 80), (80, 101), (33, 64), (57, 57), (301, 40)])
@pytest.mark.parametrize(("resize_to", "crop"), [(48, 32), (32, 32), (37, 33), (64, 57)])
def test_shorter_side_and_centre_crop(size, resize_to, crop, interpolation):
    steps = Preprocessing(size=(crop, crop), resize_to=resize_to, interpolation=interpolation)
    reference = v2.Compose([v2.Resize(resize_to, MODES[interpolation]), v2.CenterCrop(crop)])
    image = photo(*size)
    assert np.array_equal(to_pixels(image, steps), np.asarray(reference(image)))


def test_stretching():
    steps = Preprocessing(size=(20, 30), resize="stretch", crop="none", interpolation="bicubic")
    reference = v2.Resize((20, 30), v2.InterpolationMode.BICUBIC)
    image = photo(50, 41)
    assert np.array_equal(to_pixels(image, steps), np.asarray(reference(image)))


def test_crop_of_a_smaller_image_is_padded_with_black():
    steps = Preprocessing(size=(20, 20), resize="none")
    image = photo(12, 16)
    reference = v2.CenterCrop(20)(image)
    assert np.array_equal(to_pixels(image, steps), np.asarray(reference))


def test_no_step_and_another_size_is_an_error():
    steps = Preprocessing(size=(32, 32), resize="none", crop="none")
    assert to_pixels(photo(32, 32), steps).shape == (32, 32, 3)
    with pytest.raises(BadImage, match="28 × 30 pixels, the network takes 32 × 32"):
        to_pixels(photo(28, 30), steps)


def test_grey_is_the_standard_luma():
    steps = Preprocessing(size=(8, 8), channels=1, resize="none", mean=(0.0,), std=(1.0,))
    image = photo(8, 8)
    assert np.array_equal(to_pixels(image, steps)[..., 0], np.asarray(v2.Grayscale()(image)))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("scale", [1, 255])
def test_normalisation(order, scale):
    steps = Preprocessing(size=(4, 4), colour_order=order, scale=scale, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    pixels = torch.from_numpy(np.asarray(photo(4, 4))[None].copy())
    x = to_input(pixels, steps)
    expected = np.asarray(photo(4, 4)).astype(np.float64) / 255 * scale
    if order == "BGR":
        expected = expected[..., ::-1]
    expected = ((expected - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]).transpose(2, 0, 1)
    assert x.dtype == torch.float32
    assert np.allclose(x[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("size", [(7, 13), (13, 7), (1, 1)])
def test_a_batch_is_normalised_as_its_images_are_one_by_one(count, size):
    steps = Preprocessing(size=size)
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (count, *size, 3), np.uint8))
    found = to_input(pixels, steps)
    transform = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(steps.mean, steps.std)])
    assert found.shape == (count, 3, *size)
    assert count == 0 or found.is_contiguous(memory_format=torch.channels_last)
    for image, normalised in zip(pixels, found, strict=True):
        torch.testing.assert_close(normalised, transform(image.permute(2, 0, 1)), rtol=0, atol=1e-6)


def test_kept_memory_holds_each_batch_until_the_next():
    steps = Preprocessing(size=(7, 9))
    generator = np.random.default_rng(2)
    inputs = Inputs(steps)
    places = set()
    for count in (4, 2, 4, 5, 1):
        pixels = torch.from_numpy(generator.integers(0, 256, (count, 7, 9, 3), np.uint8))
        found = inputs.of(pixels)
        places.add(found.data_ptr())
        assert torch.equal(found, to_input(pixels, steps))
    assert len(places) == 2


def test_drafts_leave_twice_the_size():
    assert draft_size(Preprocessing(size=(224, 224), resize_to=256)) == 512
    assert draft_size(Preprocessing(size=(32, 64), resize="stretch", crop="none")) == 128
    assert draft_size(Preprocessing(resize="none")) is None
