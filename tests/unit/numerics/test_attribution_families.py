"""Small networks of many families: every weight is followed, with the gradients that autograd forms one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from app.loaders.models.graph import functional_graph
from app.numerics.attribution import untapped
from app.numerics.attribution.outputs import margin
from app.numerics.attribution.sketch import GradientSketch
from app.numerics.attribution.taps import TappedNetwork

models = torchvision.models


class Recurrent(nn.Module):
    """Reads an image row by row."""

    def __init__(self, layer: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.rows, self.head = layer(12, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


class Odd(nn.Module):
    """Weights where no tap looks: in three dimensions, in a table, as an exponent, as a product of two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.cube, self.table = nn.Conv3d(1, 2, 2), nn.Parameter(torch.rand(7))
        self.power, self.mix = nn.Parameter(torch.rand(1) + 1), nn.Linear(4, 3)
        self.gate = nn.Parameter(torch.rand(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.cube(x[:, None]).abs().flatten(3).mean(3).flatten(1).pow(self.power)
        return self.mix(x * self.table[torch.tensor([0, 2, 4, 6])]) @ (self.gate * self.gate.T)


class Turned(nn.Module):
    """Matrices on their side: a transposed one, and one that is used both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.both = nn.Parameter(torch.rand(6, 48)), nn.Parameter(torch.rand(6, 6))
        self.last = nn.Parameter(torch.rand(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(x.flatten(1) @ self.first.T)
        x = torch.tanh(nn.functional.linear(x, self.both)) @ self.both
        return x @ self.last.transpose(0, 1)


def _swin(version: int) -> nn.Module:
    swin = models.swin_transformer
    kinds = {} if version == 1 else {
        "block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2
    }  # fmt: skip
    return models.SwinTransformer([2, 2], 8, [2], [2], [2, 2], num_classes=3, **kinds)


def _timm(name: str, **options: object) -> nn.Module:
    return timm.create_model(name, num_classes=3, **options)


_PATCHES = {"img_size": 16, "patch_size": 8, "depth": 1, "embed_dim": 8, "num_heads": 2}
FAMILIES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "lstm": (lambda: Recurrent(nn.LSTM), 4),
    "gru": (lambda: Recurrent(nn.GRU), 4),
    "odd": (Odd, 4),
    "turned": (Turned, 4),
    "swin": (lambda: _swin(1), 16),
    "swin v2": (lambda: _swin(2), 16),
    "class attention": (
        lambda: _timm("cait_xxs24_224", img_size=16, patch_size=8, depth=1, embed_dim=8, num_heads=2),
        16,
    ),
    "beit": (lambda: _timm("beit_base_patch16_224", img_size=16, patch_size=8, depth=1, embed_dim=8, num_heads=2), 16),
    "densenet": (lambda: models.DenseNet(4, (1, 1), 8, num_classes=3), 16),
    "convnext": (lambda: _timm("convnextv2_atto", depths=(1, 1, 1, 1), dims=(4, 8, 8, 8)), 32),
    "shuffle": (lambda: models.ShuffleNetV2([1, 1, 1], [8, 8, 8, 8, 16], num_classes=3), 16),
}


def graph_of(network: nn.Module, x: Tensor) -> torch.fx.GraphModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network.eval(), (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        return functional_graph(program)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_of_a_family_is_followed_as_autograd_does(family: str) -> None:
    torch.manual_seed(0)
    make, side = FAMILIES[family]
    network, x = make().eval(), torch.randn(4, 3, side, side)
    for weight in network.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    y = torch.arange(4) % 3
    tapped = TappedNetwork(graph_of(network, x), x[:1])
    assert (tapped.untapped, tapped.tapped_share) == ((), 1)
    sketch = GradientSketch(tapped.taps, 10**8, 0)
    found = sketch.features(tapped.factors(x, lambda logits: margin(logits, y))[1])
    weights = list(network.requires_grad_().parameters())
    rows = []
    for one, label in zip(x.split(1), y.split(1), strict=True):
        formed = torch.autograd.grad(margin(network(one), label)[0], weights, allow_unused=True)
        rows.append(torch.cat([side.flatten() for side in formed if side is not None]))
    whole = torch.stack(rows)
    assert found.shape == whole.shape
    torch.testing.assert_close(
        found @ found.T, whole @ whole.T, rtol=1e-3, atol=1e-4 * float(whole.square().sum(1).max())
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_slices_of_what_is_differentiated_singly_change_nothing(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, x, y = Odd(), torch.randn(7, 3, 4, 4), torch.arange(7) % 3
    tapped = TappedNetwork(graph_of(network, x), x[:1])
    sketch = GradientSketch(tapped.taps, 10**8, 0)
    whole = sketch.features(tapped.factors(x, lambda logits: margin(logits, y))[1])
    monkeypatch.setattr(untapped, "_AT_ONCE", 20 * batch)
    parts = sketch.features(tapped.factors(x, lambda logits: margin(logits, y))[1])
    torch.testing.assert_close(parts, whole)


def test_an_operation_that_cannot_be_mapped_is_run_example_by_example(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, x, y = Odd(), torch.randn(5, 3, 4, 4), torch.arange(5) % 3
    tapped = TappedNetwork(graph_of(network, x), x[:1])
    mapped = tapped.factors(x, lambda logits: margin(logits, y))[1]

    def no_rule(*_: object, **__: object) -> None:
        raise RuntimeError("no batching rule")

    monkeypatch.setattr(untapped, "vmap", no_rule)
    singly = tapped.factors(x, lambda logits: margin(logits, y))[1]
    for one, other in zip(mapped, singly, strict=True):
        torch.testing.assert_close(one.gradients, other.gradients)


def test_hashed_gradients_of_weights_without_taps_keep_inner_products() -> None:
    torch.manual_seed(0)
    network, x, y = Recurrent(nn.GRU), torch.randn(5, 3, 4, 4), torch.arange(5) % 3
    tapped = TappedNetwork(graph_of(network, x), x[:1])
    factors = tapped.factors(x, lambda logits: margin(logits, y))[1]
    exact = GradientSketch(tapped.taps, 10**8, 0).features(factors)
    mean = torch.stack([(f := GradientSketch(tapped.taps, 60, seed).features(factors)) @ f.T for seed in range(300)])
    right = exact @ exact.T
    assert ((mean.mean(0) - right).norm() / right.norm()) < 0.1
