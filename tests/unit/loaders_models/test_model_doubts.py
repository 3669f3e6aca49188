"""What is said of a network before any stress test: random answers, gradients, another normalisation."""

import json

import numpy as np
import pytest
import torch
from model_builders import ColourNet, pack, png, save_torchscript
from test_model_smoke import COLOURS, coloured, steps_with

from app.loaders.models.doubts import of_normalisation
from app.loaders.models.smoke import smoke
from app.loaders.models.spec import ModelSpec


class Noisy(ColourNet):
    """Other scores each time."""

    def forward(self, x):
        scores = super().forward(x)
        return scores + torch.rand_like(scores)


class Stepped(ColourNet):
    """A step function before the layers."""

    def forward(self, x):
        return super().forward((x * 20).round() / 20)


@pytest.fixture
def doubts(tmp_path, monkeypatch):
    def doubts(network, steps=None, *, graph=True, seconds=25.0, **sample):
        """As TorchScript, which predicts but gives no gradients; with `graph` as if they came from another format."""
        if graph:
            monkeypatch.setattr("app.loaders.models.doubts.cached_graphs", lambda *_: [network])
        path = save_torchscript(tmp_path / "model.pt", network.eval())
        spec = ModelSpec(format="torchscript", preprocessing=steps or steps_with(), classes=COLOURS)
        payload = {"file": str(path), "spec": spec.model_dump(mode="json"), "device": "cpu", "search_seconds": seconds}
        if sample:
            images, ranges = pack(tmp_path / "sample", [png(p) for p in sample["pixels"]])
            payload |= {"images": [str(images)], "ranges": str(ranges), "labels": list(sample["labels"])}
        return json.loads(json.dumps(smoke(payload, lambda _: None), allow_nan=False))["doubts"]

    return doubts


def test_an_ordinary_network_is_not_doubted(doubts):
    assert doubts(ColourNet()) == []
    pixels, labels = coloured()
    assert doubts(ColourNet(), pixels=pixels, labels=labels) == []


def test_random_answers_are_said(doubts):
    (said,) = doubts(Noisy())
    assert "8 of 8 images got other scores when the network was asked again" in said
    assert "evaluation mode" in said


def test_a_network_without_gradients_is_said_with_the_reason(doubts):
    (said,) = doubts(ColourNet(), graph=False)
    assert said.startswith("Attacks can use no gradients")
    assert "safetensors" in said


def test_a_step_function_is_said(doubts):
    (said,) = doubts(Stepped())
    assert "None of 4 images has a gradient other than zero" in said


def test_a_better_normalisation_is_said_with_both_counts(doubts):
    pixels, labels = coloured()
    kept = np.flatnonzero((np.arange(90) % 3 == 1) | (np.arange(90) < 23))
    sample = {"pixels": pixels[kept], "labels": [labels[row] for row in kept]}
    (said,) = doubts(ColourNet(), steps_with(colour_order="BGR"), **sample)
    assert f"With “RGB colours” the model is right on {len(kept)} of {len(kept)} images" in said
    assert "with the declared preprocessing on 30" in said
    assert "Correct the preprocessing before stress tests" in said
    assert doubts(ColourNet(), steps_with(colour_order="BGR"), seconds=1e-6, **sample) == [], "there is no time to ask"


@pytest.mark.parametrize(
    ("mine", "other", "said"), [(90, 92, False), (60, 95, True), (9, 10, False), (None, 90, False)]
)
def test_only_a_clear_gain_is_said(mine, other, said):
    declared = steps_with()
    found = of_normalisation(declared, lambda steps: mine if steps is declared else other, 100 if mine != 9 else 10)
    assert bool(found) == said


def test_the_search_ends_in_time():
    asked = []
    declared = steps_with()
    of_normalisation(declared, lambda steps: asked.append(steps) or 1, 100, lambda: len(asked) > 3)
    assert len(asked) == 4
