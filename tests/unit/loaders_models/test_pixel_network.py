"""The network on pixels in [0, 1]: the same as on the bytes, with gradients or with a reason why there are none."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.loaders.models.alternatives import normalisations
from app.loaders.models.layers import build_layers
from app.loaders.models.pixel_network import normalised, pixel_network
from app.loaders.models.preprocess import to_input
from app.loaders.models.runtime import load_model
from app.loaders.models.spec import ModelSpec, Preprocessing

COLOUR = Preprocessing(size=(8, 8), resize="none", crop="none")
OPENCV = {"colour_order": "BGR", "scale": 255, "mean": (104.0, 117.0, 124.0), "std": (57.0, 57.5, 58.5)}
STEPS = {
    "colour": COLOUR,
    "bgr 255": COLOUR.model_copy(update=OPENCV),
    "grey": Preprocessing(size=(8, 8), channels=1, resize="none", crop="none", mean=(0.13,), std=(0.31,)),
}
CLASSES = ("a", "b", "c")


def layers(channels: int) -> list[dict[str, object]]:
    return [
        {"conv2d": {"in_channels": channels, "out_channels": 4, "kernel_size": 3}},
        {"relu": {}},
        {"flatten": {}},
        {"linear": {"in_features": 144, "out_features": 3}},
    ]


def written(folder: Path, kind: str, steps: Preprocessing) -> tuple[Path, ModelSpec]:
    torch.manual_seed(0)
    network = build_layers(layers(steps.channels)).eval()
    path = folder / "model"
    if kind == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and what people upload
            torch.jit.script(network).save(str(path))
        return path, ModelSpec(format="torchscript", preprocessing=steps, classes=CLASSES)
    save_file(network.state_dict(), path)
    spec = ModelSpec(format="safetensors", architecture=layers(steps.channels), preprocessing=steps, classes=CLASSES)
    return path, spec


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("kind", ["safetensors", "torchscript"])
def test_pixels_as_numbers_give_the_logits_of_the_bytes(kind: str, steps: Preprocessing, tmp_path: Path) -> None:
    path, spec = written(tmp_path, kind, steps)
    model = load_model(path, spec)
    network = pixel_network(path, spec, model)
    pixels = torch.randint(0, 256, (5, 8, 8, steps.channels), dtype=torch.uint8)
    x = (pixels.permute(0, 3, 1, 2).float() / 255).requires_grad_(kind == "safetensors")
    found, expected = network.forward(x), model.predict(to_input(pixels, steps))[0]
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)
    assert network.channels == steps.channels
    for name, other in normalisations(steps):
        under = model.predict(to_input(pixels, other))[0]
        assert torch.allclose(network.others[name](x.detach()), under, atol=1e-3, rtol=1e-3), name
    if kind == "torchscript":
        assert "gives no gradients" in network.reason
    else:
        assert network.reason == ""
        (gradient,) = torch.autograd.grad(found.sum(), x)
        assert float(gradient.abs().min(1).values.max()) > 0


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_numbers_are_normalised_as_bytes_are(steps: Preprocessing) -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(steps.channels, 1).T.reshape(1, 16, 16, steps.channels)
    found = normalised(pixels.permute(0, 3, 1, 2).float() / 255, steps)
    assert torch.allclose(found, to_input(pixels, steps), atol=2e-5, rtol=1e-5)
    assert found.is_contiguous()
