"""Work on pixels: what a kind's function gets, for every format, and that its answers are those of prediction."""

import json

import numpy as np
import pytest
import torch
from model_builders import SIDE, STEPS, noise, pack, png, spec_for, tiny_net
from PIL import Image

from app.audits.pixels import ALL_FORMATS, PixelShard
from app.loaders.models import pixel_shard
from app.loaders.models.pixel_shard import run_shard
from app.loaders.models.preprocess import to_input

SEEN: list[PixelShard] = []


def keep(shard: PixelShard):
    """Stands for a kind's function."""
    SEEN.append(shard)
    places, pictures, logits = [], [], []
    for batch in shard.pictures([0, 2, 3, 5]):
        places.append(batch.places)
        pictures.append(batch.pictures.numpy())
        logits.append(shard.classify(batch.pictures).numpy())
    shard.progress(0.5)
    return {
        "list.places": np.concatenate(places),
        "list.pictures": np.concatenate(pictures),
        "list.logits": np.concatenate(logits),
    }


def request(saved, folder, files, kind="safetensors", **changes):
    images, ranges = pack(folder, files)
    np.save(folder / "labels.npy", np.arange(len(files)) % 3)
    payload = {
        "file": str(saved[kind]),
        "spec": spec_for(kind).model_dump(mode="json"),
        "images": [str(images)],
        "ranges": str(ranges),
        "labels": str(folder / "labels.npy"),
        "start": 40,
        "split": [30, 90],
        "function": f"{__name__}:keep",
        "params": {"budget": "quick"},
        "seed": 3,
        "output": str(folder / "out"),
        "device": "cpu",
        "batch_size": 2,
        **changes,
    }
    return json.loads(json.dumps(payload))


def out(folder, name):
    return np.load(folder / "out" / f"list.{name}.npy")


@pytest.mark.parametrize("kind", ALL_FORMATS)
def test_every_format_says_of_pixels_what_it_says_of_images(saved, tmp_path, kind):
    pixels = noise(6)
    heard = []
    answer = run_shard(request(saved, tmp_path, [png(p) for p in pixels], kind), heard.append)
    wanted = pixels[[0, 2, 3, 5]]
    assert out(tmp_path, "places").tolist() == [0, 2, 3, 5]
    assert np.array_equal(out(tmp_path, "pictures"), wanted.transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = tiny_net()(to_input(torch.from_numpy(wanted), STEPS)).numpy()
    np.testing.assert_allclose(out(tmp_path, "logits"), expected, atol=1e-4)
    assert answer["arrays"]["list.pictures"] == [[4, 3, SIDE, SIDE], "uint8"]
    assert heard == [{"done": 3, "total": 6}]
    assert (SEEN[-1].start, SEEN[-1].split, SEEN[-1].seed, SEEN[-1].labels.tolist()) == (40, (30, 90), 3, [0, 1, 2] * 2)


def test_images_that_cannot_be_read_are_left_out(saved, tmp_path):
    files = [png(p) for p in noise(6)]
    files[2] = files[3] = b"no image"
    run_shard(request(saved, tmp_path, files), lambda _: None)
    assert out(tmp_path, "places").tolist() == [0, 5]


def test_grey_networks_get_three_channels_back_as_pillow_greys_them():
    pictures = torch.from_numpy(noise(2)).permute(0, 3, 1, 2)
    found = pixel_shard._grey(pictures)[:, 0].numpy()
    expected = [np.asarray(Image.fromarray(p).convert("L")) for p in pictures.permute(0, 2, 3, 1).numpy()]
    assert np.array_equal(found, expected)


def test_the_network_itself_and_the_pixel_of_zeros_are_handed_out(saved, tmp_path):
    run_shard(request(saved, tmp_path, [png(p) for p in noise(6)]), lambda _: None)
    shard = SEEN[-1]
    pictures = torch.from_numpy(noise(3)).permute(0, 3, 1, 2)
    network, prepared = shard.module()
    assert torch.allclose(network(prepared(pictures)), shard.classify(pictures), atol=1e-5)
    zeros = prepared(torch.tensor(shard.mean, dtype=torch.uint8).view(1, 3, 1, 1))
    assert zeros.abs().max() <= 0.5 / 255 / min(STEPS.std) + 1e-6
    run_shard(request(saved, tmp_path, [png(p) for p in noise(6)], "torchscript"), lambda _: None)
    assert SEEN[-1].module is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (128, 102, 76)),
        ({"colour_order": "BGR"}, (76, 102, 128)),
        ({"channels": 1, "mean": (0.2,), "std": (1.0,)}, (51, 51, 51)),
        ({"scale": 255, "mean": (10.0, 20.0, 30.0), "std": (1.0, 1.0, 1.0)}, (10, 20, 30)),
        ({"mean": (-1.0, 0.0, 3.0)}, (0, 0, 255)),
    ],
)
def test_the_pixel_of_zeros_follows_order_channels_and_scale(changes, expected):
    assert pixel_shard._mean(STEPS.model_copy(update=changes)) == expected
