"""Factor taps and sketches against gradients that autograd forms one example at a time."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from app.numerics.attribution import untapped
from app.numerics.attribution.outputs import cross_entropy, doubt, margin
from app.numerics.attribution.randomness import buckets, signs
from app.numerics.attribution.sketch import GradientSketch
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.streams import stream


class Convolutions(nn.Module):
    """Strides, padding, groups, a bias here and not there, batch norm, in-place operations, a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, (3, 1), padding=(1, 0), dilation=1, groups=2, bias=False)
        self.again = nn.Linear(12, 12)
        self.last = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.norm(self.first(x)))
        x = self.grouped(self.depthwise(x)).mean((2, 3))
        return self.last(self.again(torch.tanh(self.again(x))))


class Tokens(nn.Module):
    """Linear layers on a batch of sequences, positions first inside attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.last((x + self.attention(x, x, x, need_weights=False)[0]).mean(1))


class Signals(nn.Module):
    """One-dimensional, transposed and “same” convolutions, every normalisation, bare parameters, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(3, 4, 3, stride=2, padding=2)
        self.batch = nn.BatchNorm1d(4)
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.instance = nn.InstanceNorm2d(6, affine=True)
        self.group = nn.GroupNorm(3, 6)
        self.same = nn.Conv2d(6, 6, (3, 5), padding="same", dilation=(2, 1))
        self.layer, self.root = nn.LayerNorm(6), nn.RMSNorm(6)
        self.scale, self.place = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(1, 5, 6))
        self.token, self.matrix = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(6, 6))
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.batch(self.one(x))[:, :, None].expand(-1, -1, 4, -1)
        x = torch.tanh(self.same(self.group(self.instance(self.up(x)))))
        x = x.mean(2)[..., :4].transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.place
        x = self.root(torch.tanh(self.layer(x) @ self.matrix)) * self.scale.reshape(1, 1, 6)
        return self.b(torch.tanh(self.a(x))).mean(1) - self.scale[None]


class Words(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.mix = nn.Embedding(11, 6), nn.LayerNorm(6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.norm(self.embed(x).cumsum(1))))).mean(1)


def exported(network: nn.Module, example: Tensor) -> torch.fx.GraphModule:
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    return program.run_decompositions({}).module(check_guards=False)


def networks() -> dict[str, tuple[nn.Module, Tensor, int]]:
    torch.manual_seed(0)
    convolutions = Convolutions()
    convolutions.norm.running_var.uniform_(0.5, 2)
    small = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    return {
        "convolutions": (convolutions, torch.randn(7, 3, 9, 11), 5),
        "tokens": (Tokens(), torch.randn(7, 6, 4), 3),
        "signals": (Signals(), torch.randn(7, 3, 9), 6),
        "words": (Words(), torch.randint(11, (7, 5)), 11),
        "small": (small, torch.randn(40, 1, 8, 8), 10),
    }


def exact_gradients(network: nn.Module, names: list[str], x: Tensor, y: Tensor) -> Tensor:
    """[n, p] gradients of the margin, formed whole, one example at a time."""
    network.requires_grad_(True)
    wanted = [dict(network.named_parameters())[name] for name in names]
    rows = []
    for one, label in zip(x.split(1), y.split(1), strict=True):
        formed = torch.autograd.grad(margin(network(one), label)[0], wanted)
        rows.append(torch.cat([gradient.flatten() for gradient in formed]))
    return torch.stack(rows)


def digits(count: int) -> tuple[Tensor, Tensor]:
    found = load_digits()
    return torch.tensor(found.images[:count, None] / 16, dtype=torch.float32), torch.tensor(found.target[:count])


def train(network: nn.Module, x: Tensor, y: Tensor) -> None:
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for start in [*range(0, len(x), 50)] * 5:
        optimiser.zero_grad()
        cross_entropy(network(x[start : start + 50]), y[start : start + 50]).mean().backward()
        optimiser.step()


@pytest.fixture(params=["convolutions", "tokens", "small", "signals", "words"])
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Tensor, TappedNetwork]:
    network, x, classes = networks()[request.param]
    y = torch.arange(len(x)) % classes
    return network, x, y, TappedNetwork(exported(network, x), x[:1])


def features(tapped: TappedNetwork, sketch: GradientSketch, x: Tensor, y: Tensor) -> Tensor:
    return sketch.features(tapped.factors(x, lambda logits: margin(logits, y))[1])


def test_without_a_projection_inner_products_are_those_of_the_gradients(case) -> None:
    network, x, y, tapped = case
    assert not tapped.untapped
    assert tapped.tapped_share == 1
    expected = exact_gradients(network, [name for name, _ in network.named_parameters()], x, y)
    rows = features(tapped, GradientSketch(tapped.taps, 10**7, seed=0), x, y)
    assert rows.shape == expected.shape
    torch.testing.assert_close(rows @ rows.T, expected @ expected.T, rtol=1e-4, atol=1e-4)


def test_sketched_inner_products_are_unbiased(case) -> None:
    _, x, y, tapped = case
    whole = features(tapped, GradientSketch(tapped.taps, 10**7, seed=0), x, y)
    expected = whole @ whole.T
    many = [features(tapped, GradientSketch(tapped.taps, 150, seed=seed), x, y) for seed in range(60)]
    mean = torch.stack([rows @ rows.T for rows in many]).mean(0)
    scale = expected.diagonal().mean()
    assert many[0].shape[1] <= 150
    assert ((mean - expected).abs().max() / scale) < 0.35
    assert ((mean - expected).diagonal().mean() / scale).abs() < 0.1


def test_sketch_correlates_with_exact_scores() -> None:
    """At k = 4,096 on a network of about 40,000 parameters, as the correctness list of the method asks."""
    network = networks()["small"][0]
    x, y = digits(300)
    train(network, x, y)
    x, y = x[:60], y[:60]
    tapped = TappedNetwork(exported(network, x), x[:1])
    assert 37_000 < sum(p.numel() for p in network.parameters()) < 42_000
    exact = exact_gradients(network, [name for name, _ in network.named_parameters()], x, y)
    rows = features(tapped, GradientSketch(tapped.taps, 4096, seed=0), x, y)
    off = ~torch.eye(len(x), dtype=torch.bool)
    pair = torch.stack([(exact @ exact.T)[off], (rows @ rows.T)[off]])
    assert torch.corrcoef(pair)[0, 1] > 0.97


@pytest.mark.parametrize("batch", [1, 7])
def test_batch_size_changes_nothing(case, batch: int) -> None:
    _, x, y, tapped = case
    x, y = x.repeat(10, *[1] * (x.dim() - 1))[:64], y.repeat(10)[:64]
    sketch = GradientSketch(tapped.taps, 120, seed=1)
    whole = features(tapped, sketch, x, y)
    parts = [features(tapped, sketch, x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]
    assert (torch.cat(parts) - whole).norm() < 1e-5 * whole.norm()


class Cubes(nn.Module):
    """A layer that is not known, after one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.cube = nn.Linear(4, 8), nn.Conv3d(1, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.cube(self.first(x).reshape(-1, 1, 2, 2, 2)).flatten(1).expand(-1, 2)


def test_what_is_too_large_to_form_is_named_with_its_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untapped, "LARGEST", 7)
    network, x = Cubes(), torch.randn(2, 4)
    tapped = TappedNetwork(exported(network, x), x[:1])
    assert set(tapped.untapped) == {"cube.weight"}
    assert tapped.unknown == ("aten.conv3d.default",)
    assert tapped.tapped_share == pytest.approx(41 / 49)


def test_a_network_in_which_nothing_can_be_followed_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untapped, "LARGEST", 1)
    network, x = nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten()), torch.randn(2, 1, 2, 2, 2)
    with pytest.raises(ValueError, match=r"aten\.conv3d"):
        TappedNetwork(exported(network, x), x[:1])


@pytest.mark.parametrize(("layer", "word"), [(nn.BatchNorm2d(4), "batch normalisation"), (nn.Dropout(0.5), "dropout")])
def test_training_mode_is_refused_with_what_to_do(layer: nn.Module, word: str) -> None:
    network, x = nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.Flatten()).train(), torch.randn(2, 3, 8, 8)
    graph = torch.export.export(network, (x,)).run_decompositions({}).module(check_guards=False)
    with pytest.raises(ValueError, match=rf"{word} in training mode.*model\.eval\(\)"):
        TappedNetwork(graph, x[:1])


def test_weights_at_which_examples_mix_are_not_tapped() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own, self.mixed = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.own(x)
            return self.mixed(x - x.mean(0))

    x = torch.randn(5, 4)
    assert set(TappedNetwork(exported(Mixing(), x), x[:1]).untapped) == {"mixed.weight", "mixed.bias"}


def test_formed_gradients_hashed_into_buckets_are_unbiased() -> None:
    network, x, y = nn.Sequential(nn.LayerNorm(40), nn.Linear(40, 3)), torch.randn(6, 40), torch.arange(6) % 3
    tapped = TappedNetwork(exported(network, x), x[:1])
    norm = [tap for tap in tapped.taps if tap.kind == "formed"]
    pairs = [tapped.factors(x, lambda logits: margin(logits, y))[1][tapped.taps.index(norm[0])]]
    expected = pairs[0].gradients @ pairs[0].gradients.T
    many = [GradientSketch(norm, 20, seed).features(pairs) for seed in range(400)]
    assert many[0].shape == (6, 20)
    mean = torch.stack([rows @ rows.T for rows in many]).mean(0)
    assert (mean - expected).abs().max() < 0.1 * expected.diagonal().mean()


def test_a_gradient_that_is_not_finite_is_named() -> None:
    network, x, _ = networks()["small"]
    graph = exported(network, x)
    tapped = TappedNetwork(graph, x[:1])
    graph.get_parameter("3.weight").data[0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match="output of “linear” is not finite"):
        TappedNetwork(graph, x[:1])
    with pytest.raises(FloatingPointError, match="is not finite"):
        tapped.factors(x, lambda logits: margin(logits, torch.zeros(len(x), dtype=torch.int64)))


def test_sketches_of_checkpoints_and_seeds_differ_and_repeat() -> None:
    _, x, _ = networks()["small"]
    network = networks()["small"][0]
    tapped = TappedNetwork(exported(network, x), x[:1])
    y = torch.zeros(len(x), dtype=torch.int64)
    rows = [features(tapped, GradientSketch(tapped.taps, 60, s, c), x, y) for s, c in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert torch.equal(rows[0], rows[3])
    assert not torch.allclose(rows[0], rows[1])
    assert not torch.allclose(rows[0], rows[2])


def test_margin_and_doubt_in_closed_form() -> None:
    logits, labels = torch.randn(20, 4, dtype=torch.float64), torch.arange(20) % 4
    p = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(margin(logits, labels), (p / (1 - p)).log())
    torch.testing.assert_close(doubt(logits, labels), 1 - p)
    torch.testing.assert_close(cross_entropy(logits, labels), -p.log())


def test_margin_stays_finite_where_the_probability_is_one() -> None:
    logits = torch.tensor([[60.0, -60.0, 0.0]])
    assert margin(logits, torch.tensor([0])).item() == pytest.approx(60, abs=1e-4)
    assert 0 < doubt(logits, torch.tensor([0])).item() < 1e-20


def test_signs_are_fair_and_keyed() -> None:
    one = signs((100, 1000), stream(0, 1, "layer.weight"))
    assert set(one.unique().tolist()) == {-1.0, 1.0}
    assert abs(one.mean().item()) < 0.01
    assert torch.equal(one, signs((100, 1000), stream(0, 1, "layer.weight")))
    assert not torch.equal(one, signs((100, 1000), stream(0, 2, "layer.weight")))
    found = buckets(50_000, 7, stream(3, "x")).bincount(minlength=7)
    assert found.shape == (7,)
    assert (found - 50_000 / 7).abs().max() < 500
