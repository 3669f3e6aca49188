"""Networks of every format as programs of pixels, and a word for the layer that proofs cannot pass."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from model_builders import CLASSES, spec_for
from torch import Tensor, fx, nn
from torch.nn import functional

from app.audits.pixels import NotProvable
from app.loaders.models.cifar_resnet import CifarResNet
from app.loaders.models.graph import functional_graph
from app.loaders.models.layers import build_layers
from app.loaders.models.pixel_network import normalised, pixel_network
from app.loaders.models.provable import network_program
from app.loaders.models.runtime import load_model
from app.loaders.models.spec import Preprocessing
from app.numerics.bounds.cost import cost
from app.numerics.bounds.margins import METHODS, margin_bounds
from app.numerics.bounds.program import Program

SIZE = Preprocessing(size=(8, 8), resize="none", crop="none")
OPENCV = SIZE.model_copy(
    update={"colour_order": "BGR", "scale": 255, "mean": (104.0, 117.0, 124.0), "std": (57.0, 57.5, 58.5)}
)


def program_of(network: nn.Module, steps: Preprocessing = SIZE) -> tuple[Program, Any]:
    """The program of a network, and the network on pixels."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            for value, low in (
                (part.running_mean, -1.0),
                (part.running_var, 0.3),
                (part.weight, 0.3),
                (part.bias, -1.0),
            ):
                value.data.uniform_(low, 1.5)
    network = network.eval().requires_grad_(False)
    dynamic = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = functional_graph(
            torch.export.export(network, (torch.zeros(2, steps.channels, *steps.size),), dynamic_shapes=dynamic)
        )

    def forward(images: Tensor) -> Tensor:
        return network(normalised(images, steps))

    assert isinstance(graph, fx.GraphModule)
    return network_program(graph.requires_grad_(False), steps, forward), forward


def images_of(count: int) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(5))


class Odd(nn.Module):
    """Padding by a constant, slices, joins, differences, constants, branches and means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding="same", dilation=2)
        self.linear = nn.Linear(36, 3)
        self.register_buffer("scale", torch.tensor([1.5, -2.0, 0.5, 1.0]).view(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (1, 0, 0, 1), value=0.7)[:, :, 1:, :-1]
        x = functional.relu(self.conv(x)) * self.scale + 0.3
        y = torch.cat([x[:, :2].flip(1), 2 - x[:, 2:] / 3], 1) - x.mean((2, 3), keepdim=True)
        y = functional.adaptive_avg_pool2d(functional.relu(-y), 3)
        return self.linear(y.permute(0, 2, 3, 1).flatten(1))


def flat(features: int, classes: int = 3) -> tuple[nn.Module, ...]:
    return nn.Flatten(), nn.Linear(features, classes)


NETWORKS = {
    "batch norm": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5),
        nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3),
    ),
    "pooling": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, groups=1), nn.MaxPool2d(3, 2, padding=1), nn.ReLU(), nn.AvgPool2d(2, padding=1),
        nn.AdaptiveAvgPool2d(1), *flat(4),
    ),
    "largest": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.ReLU(), nn.AdaptiveMaxPool2d(1), *flat(4)),
    "odd sizes": lambda: nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.ZeroPad2d(1), *flat(108)),
    "odd moves": Odd,
    "residual": lambda: CifarResNet(8, classes=3, width=4),
    "layers": lambda: build_layers(
        [
            {"conv2d": {"in_channels": 3, "out_channels": 2, "kernel_size": 3, "padding": 1}},
            {"residual": {"body": [{"batchnorm2d": {"num_features": 2}}, {"relu": {}}]}},
            {"flatten": {}},
            {"linear": {"in_features": 128, "out_features": 3}},
        ]
    ),
}  # fmt: skip


@cache
def known(name: str, steps: Preprocessing) -> tuple[Program, Any]:
    """The program of a network of the list, exported once."""
    torch.manual_seed(0)
    return program_of({**NETWORKS, "bordered": Bordered}[name](), steps)


@pytest.mark.parametrize(
    ("name", "steps"),
    [*((name, SIZE) for name in NETWORKS), ("odd sizes", OPENCV)],
    ids=[*NETWORKS, "blue first, up to 255"],
)
def test_a_program_is_the_network_and_its_bounds_hold(name: str, steps: Preprocessing) -> None:
    program, forward = known(name, steps)
    images = images_of(6)
    logits = forward(images)
    assert torch.allclose(program.forward(images), logits, atol=1e-4 * (1 + float(logits.abs().max())), rtol=0)
    labels = logits.argmax(1)
    noise = torch.rand(50, 1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    tried = forward((images + 0.0099 * noise).clamp(0, 1).flatten(0, 1)).view(50, 6, 3)
    margins = tried.gather(2, labels.expand(50, 6)[:, :, None])[:, :, 0]
    margins = (margins - tried.scatter(2, labels.expand(50, 6)[:, :, None], -torch.inf).amax(2)).amin(0)
    for method in METHODS:
        assert bool((margin_bounds(program, images, labels, 0.01, method) <= margins).all()), method


class Bordered(nn.Module):
    """Borders of constants, on the image and on activations, before layers that bend."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(functional.pad(x, (1, 1, 1, 1), value=1.0)))
        x = functional.relu(self.second(functional.pad(x, (1, 1, 1, 1), value=-4.0)))
        return self.last(x.flatten(1))


@pytest.mark.parametrize("name", [*NETWORKS, "bordered"])
def test_on_a_tiny_ball_bounds_are_the_margin_of_every_class(name: str) -> None:
    # A constant that gets lost on the way back raises some class's bound above the truth.
    program, forward = known(name, SIZE)
    images = images_of(4)
    logits = forward(images)
    for label in range(3):
        labels = torch.full((4,), label)
        margins = logits[:, label] - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        for method in METHODS:
            found = margin_bounds(program, images, labels, 1e-6, method)
            assert bool((found <= margins + 1e-5).all()), method
            assert bool((found >= margins - 1e-2 * (1 + margins.abs())).all()), method


def test_the_formats_give_the_same_program(saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    images, bounds = images_of(4), {}
    for kind in ("safetensors", "export", "onnx"):
        spec = spec_for(kind)
        network = pixel_network(saved[kind], spec, load_model(saved[kind], spec))
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
        program = network.program()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.allclose(program.forward(images), network.forward(images), atol=1e-4)
        bounds[kind] = margin_bounds(program, images, torch.arange(4) % len(CLASSES), 0.02, "crown")
    assert torch.allclose(bounds["safetensors"], bounds["export"], atol=1e-5)
    assert torch.allclose(bounds["safetensors"], bounds["onnx"], atol=1e-5)


def test_torchscript_says_why_not(saved: dict[str, Path]) -> None:
    spec = spec_for("torchscript")
    network = pixel_network(saved["torchscript"], spec, load_model(saved["torchscript"], spec))
    with pytest.raises(NotProvable, match=r"cannot be looked into.*torch\.export"):
        network.program()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)
        return self.linear(functional.scaled_dot_product_attention(tokens, tokens, tokens).mean(1))


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * x).flatten(1)[:, :3]


class Mixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0, keepdim=True)).flatten(1)[:, :3]


class Rounded(nn.Module):
    """Differs from what it was without the cast by less than comparing logits sees."""

    def forward(self, x: Tensor) -> Tensor:
        return x.half().float().flatten(1)[:, :3]


class Joined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.flatten(1)[:, :2], torch.ones(x.shape[0], 1)], 1)


def with_layer(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), layer, *flat(144))


UNKNOWN = {
    "sigmoid": lambda: with_layer(nn.Sigmoid()),
    "tanh": lambda: with_layer(nn.Tanh()),
    "GELU": lambda: with_layer(nn.GELU()),
    "SiLU": lambda: with_layer(nn.SiLU()),
    "ELU": lambda: with_layer(nn.ELU()),
    "leaky ReLU": lambda: with_layer(nn.LeakyReLU()),
    "ReLU6 or hardtanh": lambda: with_layer(nn.ReLU6()),
    "hardswish": lambda: with_layer(nn.Hardswish()),
    "softmax": lambda: with_layer(nn.Softmax(1)),
    "GroupNorm": lambda: with_layer(nn.GroupNorm(2, 4)),
    "LayerNorm": lambda: with_layer(nn.LayerNorm(6)),
    "attention": Attention,
    "a product of two activations": Squared,
    "mean": Mixed,
    "cast": Rounded,
    "joining": Joined,
    "padding": lambda: nn.Sequential(nn.ConstantPad2d(1, -torch.inf), nn.MaxPool2d(2), *flat(75)),
}


@pytest.mark.parametrize("word", UNKNOWN)
def test_the_layer_that_cannot_be_passed_is_named(word: str) -> None:
    with pytest.raises(NotProvable) as raised:
        program_of(UNKNOWN[word]())
    assert raised.value.layer == word
    assert f"cannot pass the layer {word}" in raised.value.message
    assert "They know Linear, Conv2d, BatchNorm, ReLU" in raised.value.message


def test_a_layer_is_named_with_its_place_in_the_network() -> None:
    with pytest.raises(NotProvable, match=r"sigmoid .“1”."):
        program_of(UNKNOWN["sigmoid"]())


def test_a_network_that_is_not_what_its_graph_says_is_refused() -> None:
    network = NETWORKS["largest"]().eval()
    program_of(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim("b")},))
    with pytest.raises(NotProvable, match="does not give the network's own logits"):
        network_program(functional_graph(program), SIZE, lambda x: network(x) + 0.1)


@pytest.mark.real
def test_the_cifar_resnet_is_a_program_in_every_format(real_data: Path) -> None:
    steps = Preprocessing(size=(32, 32), resize="none", crop="none")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for kind, end in (("safetensors", "safetensors"), ("export", "pt2"), ("onnx", "onnx")):
        path = real_data / "weights" / f"cifar10_resnet20.{end}"
        spec = spec_for(kind, preprocessing=steps, classes=tuple("abcdefghij"))
        spec = spec.model_copy(update={"architecture": "cifar_resnet20"}) if kind == "safetensors" else spec
        network = pixel_network(path, spec, load_model(path, spec))
        program = network.program()
        logits = network.forward(images)
        assert torch.allclose(program.forward(images), logits, atol=1e-3)
        assert cost(program).crown > 10_000
