"""The shipped classifier does what its card claims, and fails where failures were planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import covered, picture, sample
from PIL import Image
from safetensors.torch import load_file

from app.loaders.models.cifar_resnet import CifarResNet, parse_name
from app.loaders.models.spec import ModelSpec
from app.numerics.intervals import wilson_interval
from app.scenes.spec import OBJECTS


@pytest.fixture(scope="module")
def card(demo):
    return json.loads((demo / "classifier" / "model.json").read_text())


@pytest.fixture(scope="module")
def spec(card):
    return ModelSpec.model_validate(card["spec"])


@pytest.fixture(scope="module")
def classify(demo, card, spec):
    """A function from rows to predicted class names, written from the card alone."""
    depth, width = parse_name(spec.architecture)
    model = CifarResNet(depth, len(spec.classes), width)
    state = load_file(demo / "classifier" / card["checkpoints"][-1])
    model.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in state.items()})
    model.eval()
    way = spec.preprocessing
    assert (way.resize, way.crop, way.interpolation, way.scale) == ("stretch", "none", "bilinear", 1)

    @torch.inference_mode()
    def predict(rows):
        small = [np.asarray(picture(r).resize(way.size, Image.Resampling.BILINEAR), dtype=np.float32) for r in rows]
        x = torch.from_numpy((np.stack(small) / 255 - np.array(way.mean)) / np.array(way.std)).float()
        return [spec.classes[k] for k in model(x.permute(0, 3, 1, 2)).argmax(1).tolist()]

    return predict


def test_the_card_names_classes_and_at_least_three_checkpoints_in_half_precision(demo, card, spec):
    assert spec.classes == OBJECTS
    assert card["training_split"] == "train"
    assert len(card["checkpoints"]) >= 3
    for name in card["checkpoints"]:
        weights = load_file(demo / "classifier" / name)
        assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float16}


def test_checkpoints_are_of_one_network_and_differ(demo, card):
    states = [load_file(demo / "classifier" / name) for name in card["checkpoints"]]
    assert all(set(state) == set(states[0]) for state in states)
    assert not torch.equal(states[0]["linear.weight"], states[-1]["linear.weight"])


def test_accuracy_on_a_sample_is_the_claimed_one(test_rows, card, classify):
    chosen = sample(test_rows, 500)
    right = sum(named == row["label"] for named, row in zip(classify(chosen), chosen, strict=True))
    low, high = wilson_interval(right, 500, level=0.99)
    assert low <= card["claimed_accuracy"]["value"] <= high
    assert 0.85 <= card["claimed_accuracy"]["value"] <= 0.96


def test_it_fails_on_every_planted_group_and_mostly_as_planted(test_rows, planted, classify):
    for plant in planted:
        inside = [row for row in test_rows if covered(plant, row)]
        named = classify(inside)
        wrong = [name for name in named if name != plant["class"]]
        assert len(wrong) / len(inside) >= 0.6, plant["name"]
        assert max(set(wrong), key=wrong.count) == plant["mistaken_for"], plant["name"]


def test_it_does_well_on_the_rest_of_those_classes(test_rows, planted, classify):
    for plant in planted:
        outside = [row for row in test_rows if row["label"] == plant["class"] and not covered(plant, row)]
        chosen = sample(outside, 100)
        assert np.mean([name != plant["class"] for name in classify(chosen)]) <= 0.2, plant["name"]
