"""The first run after upload, and the explanation of a wrong accuracy."""

import json

import numpy as np
import pytest
import torch
from model_builders import SIDE, ColourNet, noise, pack, png, save_torchscript, tiny_net
from torch import nn

from app.errors import UserError
from app.loaders.models.alternatives import class_orders, geometries, normalisations
from app.loaders.models.smoke import smoke
from app.loaders.models.spec import ModelSpec, Preprocessing

COLOURS = ("1 red", "2 green", "3 blue")
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def coloured(count=90, side=SIDE):
    """Images whose strongest channel is their class."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(60, 180, (count, side, side, 3)).astype(np.uint8)
    labels = np.arange(count) % 3
    pixels[np.arange(count), :, :, labels] += 40
    return pixels, [COLOURS[label] for label in labels]


def steps_with(**changes):
    return Preprocessing(size=(SIDE, SIDE), resize="stretch", crop="none", **{**PLAIN, **changes})


@pytest.fixture
def run(tmp_path):
    def run(model, steps, *, classes=COLOURS, pixels=None, labels=(), **more):
        path = save_torchscript(tmp_path / "model.pt", model.eval())
        spec = ModelSpec(format="torchscript", preprocessing=steps, classes=classes)
        payload = {"file": str(path), "spec": spec.model_dump(mode="json"), "device": "cpu", **more}
        if pixels is not None:
            images, ranges = pack(tmp_path / "sample", [p if isinstance(p, bytes) else png(p) for p in pixels])
            payload |= {"images": [str(images)], "ranges": str(ranges), "labels": list(labels)}
        return json.loads(json.dumps(smoke(payload, lambda _: None), allow_nan=False))

    return run


def test_without_images_noise_is_used(run):
    report = run(tiny_net(), steps_with())
    assert report["input_shape"] == [8, 3, SIDE, SIDE]
    assert report["output_shape"] == [8, 3]
    assert (report["features"], report["outputs"], report["fixed_batch"]) == (5, "logits", None)
    assert report["classes"] == list(COLOURS)
    assert report["milliseconds"] > 0
    assert report["warnings"] == []
    assert "accuracy" not in report


def test_a_labelled_sample_gives_accuracy_with_interval(run):
    pixels, labels = coloured()
    report = run(ColourNet(), steps_with(), pixels=pixels, labels=labels, claimed_accuracy=0.98)
    assert report["accuracy"]["correct"] == report["accuracy"]["n"] == 90
    assert report["accuracy"]["interval"] == pytest.approx([0.9591, 1.0], abs=1e-4)
    assert (report["agrees"], report["proposal"]) == (True, None)
    assert report["predictions"][0] == {"row": 0, "class": "1 red", "confidence": pytest.approx(0.35, abs=0.02)}


def test_swapped_colours_are_found(run):
    pixels, labels = coloured()
    report = run(ColourNet(), steps_with(colour_order="BGR"), pixels=pixels, labels=labels, claimed_accuracy=0.99)
    assert report["accuracy"]["correct"] == 30
    assert report["agrees"] is False
    assert report["proposal"]["name"] == "RGB colours"
    assert report["proposal"]["spec"]["preprocessing"]["colour_order"] == "RGB"
    assert report["proposal"]["accuracy"] == 1.0
    assert report["proposal"]["explains"] is True
    assert report["tried"][0]["accuracy"] == 1.0
    assert report["search_finished"] is True


@pytest.mark.parametrize("claimed", [0.99, None])
def test_a_wrong_class_order_is_found(run, claimed):
    pixels, labels = coloured()
    wrong = ("2 green", "1 red", "3 blue")
    report = run(
        ColourNet(),
        steps_with(),
        classes=wrong,
        pixels=pixels,
        labels=labels,
        claimed_accuracy=claimed,
        dataset_classes=list(COLOURS),
    )
    assert report["accuracy"]["correct"] == 30
    assert report["proposal"]["name"] == "classes in alphabetical order"
    assert report["proposal"]["spec"]["classes"] == list(COLOURS)


class Bright(nn.Module):
    """Tells dark from bright by values from 0 to 255."""

    def forward(self, x):
        level = x.mean((1, 2, 3))
        return torch.stack([127.0 - level, level - 127.0], 1)


def test_a_wrong_scale_is_found(run):
    levels = np.random.default_rng(0).integers(0, 256, 80)
    pixels = np.repeat(levels.astype(np.uint8), SIDE * SIDE * 3).reshape(80, SIDE, SIDE, 3)
    labels = ["bright" if level > 127 else "dark" for level in levels]
    report = run(
        Bright(), steps_with(), classes=("dark", "bright"), pixels=pixels, labels=labels, claimed_accuracy=0.95
    )
    assert report["agrees"] is False
    assert report["proposal"]["name"].startswith("values 0–255")
    assert report["proposal"]["spec"]["preprocessing"]["scale"] == 255


class LeftEdge(nn.Module):
    """Sees whether the outermost columns are red or green."""

    def forward(self, x):
        edge = x[:, :, :, :1].mean((2, 3))
        return edge[:, :2]


def test_a_wrong_crop_is_found(run):
    labels = ["red" if i % 2 == 0 else "green" for i in range(60)]
    pixels = np.zeros((60, SIDE, 2 * SIDE, 3), np.uint8)
    pixels[:, :, :3, 0], pixels[:, :, :3, 1] = 120, 120
    for i, label in enumerate(labels):
        pixels[i, :, :3, 0 if label == "red" else 1] = 220
    steps = Preprocessing(size=(SIDE, SIDE), resize="shorter", crop="center", **PLAIN)
    report = run(LeftEdge(), steps, classes=("red", "green"), pixels=pixels, labels=labels, claimed_accuracy=1.0)
    assert report["agrees"] is False
    assert report["proposal"]["spec"]["preprocessing"]["resize"] == "stretch"


def test_chance_proposes_nothing(run):
    labels = [COLOURS[i] for i in np.random.default_rng(1).integers(0, 3, 90)]
    report = run(ColourNet(), steps_with(), pixels=noise(90), labels=labels, claimed_accuracy=0.99)
    assert (report["agrees"], report["proposal"]) == (False, None)
    assert len(report["tried"]) > 10


def test_unreadable_images_are_left_out_and_listed(run):
    pixels, labels = coloured(12)
    files = [b"broken", *map(png, pixels[1:])]
    report = run(ColourNet(), steps_with(), pixels=files, labels=labels)
    assert [entry["row"] for entry in report["unreadable"]] == [0]
    assert report["accuracy"]["n"] == report["accuracy"]["correct"] == 11
    assert report["predictions"][0]["row"] == 1


def test_unlabelled_rows_do_not_count(run):
    pixels, labels = coloured(30)
    labels[4:] = [""] * 26
    report = run(ColourNet(), steps_with(), pixels=pixels, labels=labels)
    assert (report["accuracy"]["n"], report["accuracy"]["correct"]) == (4, 4)
    report = run(ColourNet(), steps_with(), pixels=pixels, labels=[""] * 30, claimed_accuracy=0.9)
    assert (report["accuracy"], report["agrees"], report["output_shape"]) == (None, None, [30, 3])


def test_the_search_keeps_to_its_time_and_says_so(run):
    pixels, labels = coloured()
    report = run(
        ColourNet(),
        steps_with(colour_order="BGR"),
        pixels=pixels,
        labels=labels,
        claimed_accuracy=1.0,
        search_seconds=1e-6,
    )
    assert report["search_finished"] is False
    assert {one["n"] for one in report["tried"]} == {64}
    assert report["accuracy"]["n"] == 90


class Returning(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        y = x.mean((2, 3))
        return {
            "nan": y / (y - y),
            "same": y * 0,
            "probabilities": y.softmax(1),
            "tuple": (y, x),
            "dict": {"scores": y, "hidden": x},
            "pair": (y, y * 2),
        }[self.kind]


def test_suspicious_outputs_are_warned_of(run):
    assert "same scores for every image" in run(Returning("same"), steps_with())["warnings"][0]
    report = run(Returning("probabilities"), steps_with())
    assert report["outputs"] == "probabilities"
    assert report["warnings"] == ["The outputs look like probabilities, but logits are declared."]
    assert "outputs are numbered" in run(ColourNet(), steps_with(), classes=())["warnings"][0]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "tuple",
            "The network returns a tuple of a float32 tensor of shape 8×3, a float32 tensor of shape 8×3×8×8. Entry 1",
        ),
        ("dict", "The network returns a dict with the keys 'scores', 'hidden'. The entry 'scores'"),
    ],
)
def test_scores_in_a_tuple_or_dict_are_taken_and_that_is_said(run, kind, words):
    report = run(Returning(kind), steps_with())
    (warning,) = report["warnings"]
    assert warning.startswith(words)
    assert "is taken as the class scores. Save a network whose forward returns the class scores alone" in warning


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ["red"]}, "90 images and 1 labels"),
        ({"labels": ["dog"] * 90}, "None of the sample's classes \\(dog"),
        ({"pixels": [b"x"] * 3, "labels": ["red"] * 3}, "None of the 3 sample images can be used"),
        ({"pixels": [], "labels": []}, "holds no image"),
        ({"model": Returning("nan")}, "NaN or infinity for 90 of 90 images .* Check the weights, the normalisation"),
        ({"model": Returning("pair")}, "a tuple of .* 2 matrices .* wrap it in a module that picks them"),
        ({"classes": ("a", "b")}, "3 outputs, but 2 classes"),
    ],
)
def test_impossible_runs_get_a_sentence(run, change, words):
    pixels, labels = coloured()
    arguments = {"model": ColourNet(), "steps": steps_with(), "pixels": pixels, "labels": labels, **change}
    with pytest.raises(UserError, match=words):
        run(**arguments)


def test_every_alternative_is_valid_and_different():
    for declared in (steps_with(), Preprocessing(), Preprocessing(channels=1, mean=(0.5,), std=(0.5,))):
        variants = [*normalisations(declared), *geometries(declared)]
        for _, steps in variants:
            assert Preprocessing.model_validate(steps.model_dump()) == steps
        assert len({name for name, _ in variants}) == len(variants)


def test_class_orders_leave_out_what_is_no_order():
    assert list(class_orders(("a", "b"), ("a", "b", "c"))) == []
    assert dict(class_orders(("10", "9"), ())) == {"classes in numerical order": ("9", "10")}
    assert dict(class_orders(("b", "A"), ("A", "b")))["classes in alphabetical order"] == ("A", "b")
