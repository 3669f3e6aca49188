"""Decoding, training and work on the network itself, as the sandboxed child calls them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from app.audits.retraining import TrainedNetwork
from app.errors import UserError
from app.loaders.models.cifar_resnet import CifarResNet
from app.loaders.models.layers import build_layers
from app.loaders.models.model_shard import run_shard
from app.loaders.models.recipe import read_recipe
from app.loaders.models.retrain import decode, train_models

FLAT = [
    {"conv2d": {"in_channels": 3, "out_channels": 4, "kernel_size": 3}},
    {"relu": {}},
    {"maxpool2d": {"kernel_size": 2}},
    {"flatten": {}},
    {"linear": {"in_features": 36, "out_features": 2}},
]
STEPS = {"size": [8, 8], "resize": "stretch"}


def pack(folder: Path, labels: np.ndarray, seed: int, broken: int = -1) -> tuple[Path, Path]:
    """Dark and bright pictures by label, one of them perhaps no picture at all."""
    rng, data = np.random.default_rng(seed), []
    for place, label in enumerate(labels):
        pixels = rng.integers(0, 140, (8, 8, 3), dtype=np.uint8) + np.uint8(100 * max(label, 0))
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        data.append(b"nothing" if place == broken else file.getvalue())
    (folder / "images.bin").write_bytes(b"".join(data))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, data)]))
    np.save(folder / "labels.npy", labels)
    return folder / "images.bin", folder / "offsets.npy"


def decoded(folder: Path, labels: np.ndarray, seed: int, broken: int = -1) -> Path:
    folder.mkdir()
    images, ranges = pack(folder, labels, seed, broken)
    news: list[dict[str, Any]] = []
    payload = {"images": [str(images)], "ranges": str(ranges), "preprocessing": STEPS, "output": str(folder / "out")}
    assert decode(payload, news.append) == {"unreadable": int(broken >= 0)}
    assert news[-1] == {"done": len(labels), "total": len(labels)}
    return folder / "out"


def request(
    tmp_path: Path, architecture: Any, recipe: dict[str, Any], masks: np.ndarray, broken: int = -1
) -> dict[str, Any]:
    rows = masks.shape[1]
    train = decoded(tmp_path / "train", np.arange(rows) % 2, 0, broken)
    targets = decoded(tmp_path / "targets", np.arange(30) % 2, 1)
    np.save(tmp_path / "masks.npy", masks)
    network = build_layers(architecture) if isinstance(architecture, list) else CifarResNet(8, 2)
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    return {
        "file": str(tmp_path / "net.safetensors"),
        "spec": {"format": "safetensors", "architecture": architecture, "preprocessing": STEPS},
        "recipe": recipe, "train": str(train), "train_labels": str(tmp_path / "train" / "labels.npy"),
        "targets": str(targets), "target_labels": str(tmp_path / "targets" / "labels.npy"),
        "masks": str(tmp_path / "masks.npy"), "seeds": list(range(len(masks))), "output": str(tmp_path / "out"),
        "device": "cpu",
    }  # fmt: skip


@pytest.mark.parametrize("architecture", ["cifar_resnet8", FLAT], ids=["resnet", "layers"])
def test_networks_learn_what_they_see(tmp_path: Path, architecture: Any) -> None:
    recipe = {"epochs": 6, "batch_size": 16, "learning_rate": 0.05, "shift": 1, "mirror": True, "weight_decay": 5e-4}
    masks = np.random.default_rng(0).random((2, 80)) < 0.6
    news: list[dict[str, Any]] = []
    train_models(request(tmp_path, architecture, recipe, masks), news.append)
    margins, right, own = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("margins", "right", "own"))
    assert (margins.shape, own.shape, margins.dtype, right.dtype) == ((2, 30), (2, 80), np.float32, np.bool_)
    assert (right == (margins > 0)).all(), "of two classes"
    assert right.mean() > 0.9
    assert (own > 0).mean() > 0.9
    assert not np.allclose(margins[0], margins[1])
    assert [n["done"] for n in news] == pytest.approx([i / 6 for i in range(1, 13)])


def test_a_network_does_not_depend_on_its_company(tmp_path: Path) -> None:
    """Network 1 alone is network 1 of three: shards may be cut anywhere."""
    recipe, masks = {"epochs": 2, "learning_rate": 0.05}, np.random.default_rng(0).random((3, 40)) < 0.5
    payload = request(tmp_path, FLAT, recipe, masks)
    train_models(payload, lambda _: None)
    together = np.load(tmp_path / "out" / "own.npy")
    np.save(tmp_path / "masks.npy", masks[1:2])
    train_models(payload | {"seeds": [1], "output": str(tmp_path / "alone")}, lambda _: None)
    np.testing.assert_array_equal(np.load(tmp_path / "alone" / "own.npy")[0], together[1])


def test_an_image_that_cannot_be_read_teaches_nothing(tmp_path: Path) -> None:
    recipe, masks = {"epochs": 2, "learning_rate": 0.05}, np.ones((1, 20), bool)
    payload = request(tmp_path, FLAT, recipe, masks, broken=3)
    train_models(payload, lambda _: None)
    masks[0, 3] = False
    np.save(tmp_path / "masks.npy", masks)
    first = np.load(tmp_path / "out" / "margins.npy")
    train_models(payload | {"output": str(tmp_path / "again")}, lambda _: None)
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "margins.npy"), first)


def test_a_network_without_rows_and_a_recipe_that_diverges_are_refused(tmp_path: Path) -> None:
    payload = request(tmp_path, FLAT, {"epochs": 2, "learning_rate": 0.05}, np.zeros((1, 20), bool))
    with pytest.raises(UserError, match="0 images"):
        train_models(payload, lambda _: None)
    np.save(tmp_path / "masks.npy", np.ones((1, 20), bool))
    wild = {"epochs": 30, "learning_rate": 100.0, "schedule": "constant", "momentum": 0.99, "weight_decay": 1.0}
    with pytest.raises(UserError, match=r"diverges.*smaller learning rate"):
        train_models(payload | {"recipe": wild}, lambda _: None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a JSON object such as"),
        ('{"epochs": 3}', "recipe's learning_rate: field required"),
        ('{"epochs": 3, "learning_rate": 0.1, "lr": 1}', "recipe's lr: extra inputs"),
        ('{"epochs": "many", "learning_rate": 0.1}', "recipe's epochs: input should be a valid integer"),
    ],
)
def test_a_bad_recipe_names_its_field(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_recipe(text)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_pass_a_network_that_flattens_its_convolutions(tmp_path: Path, channels: int) -> None:
    images, ranges = pack(tmp_path, np.arange(10) % 2, 0)
    layers = [{"conv2d": FLAT[0]["conv2d"] | {"in_channels": channels}}, *FLAT[1:]]
    save_file(build_layers(layers).state_dict(), tmp_path / "net.safetensors")
    steps = STEPS | {"channels": channels, "mean": [0.5] * channels, "std": [0.5] * channels}
    payload = {
        "files": [str(tmp_path / "net.safetensors")],
        "spec": {"format": "safetensors", "architecture": layers, "preprocessing": steps},
        "images": [str(images)], "ranges": str(ranges), "labels": str(tmp_path / "labels.npy"),
        "function": "app.audits.influence.gradients:gradients", "params": {"features": 64}, "seed": 0,
        "output": str(tmp_path / "out"), "device": "cpu",
    }  # fmt: skip
    run_shard(payload, lambda _: None)
    assert np.load(tmp_path / "out" / "codes-0.npy").shape == (10, 64)
    assert torch.from_numpy(np.load(tmp_path / "out" / "scales-0.npy")).gt(0).all()


def told(network: TrainedNetwork) -> dict[str, Any]:
    """What a kind could measure of a trained network."""
    predicted = network.forward(network.images).argmax(1).numpy()
    shape = np.tile(np.array(network.images.shape[1:]), (len(network.rows), 1))
    noise = np.full(len(network.rows), network.noise + network.params["more"] + network.seed)
    return {"right": predicted == network.labels, "row": network.rows, "shape": shape, "noise": noise}


def test_a_trained_network_is_measured_before_it_is_gone(tmp_path: Path) -> None:
    asked = request(tmp_path, FLAT, {"epochs": 3, "learning_rate": 0.05}, np.ones((2, 40), bool))
    measures = {"function": f"{__name__}:told", "version": 1, "params": {"more": 2}, "seed": 7, "rows": [*range(5, 35)]}
    answer = train_models({**asked, "noise": [0.0, 0.5], "measures": measures}, lambda _news: None)
    found = {name: np.load(tmp_path / "out" / f"measured.{name}.npy") for name in ("right", "row", "shape", "noise")}
    assert answer["measured"]["shape"] == [[2, 30, 3], "int64"]
    np.testing.assert_array_equal(found["right"], np.load(tmp_path / "out" / "right.npy"))
    np.testing.assert_array_equal(found["row"], np.tile(np.arange(5, 35), (2, 1)))
    assert found["noise"][:, 0].tolist() == [9.0, 9.5]
    assert found["shape"][0, 0].tolist() == [3, 8, 8]


def test_the_noise_of_a_plan_stands_in_for_that_of_the_recipe(tmp_path: Path) -> None:
    def margins(name: str, planned: list[float], **recipe: Any) -> np.ndarray:
        (tmp_path / name).mkdir()
        settings = {"epochs": 2, "learning_rate": 0.05, **recipe}
        asked = request(tmp_path / name, FLAT, settings, np.ones((1, 40), bool))
        train_models({**asked, "noise": planned}, lambda _news: None)
        found: np.ndarray = np.load(tmp_path / name / "out" / "margins.npy")
        return found

    clean, noisy = margins("clean", []), margins("noisy", [], noise=0.3)
    assert not np.allclose(clean, noisy)
    np.testing.assert_array_equal(margins("planned", [0.3]), noisy)
    np.testing.assert_array_equal(margins("cleaned", [0.0], noise=0.3), clean)
