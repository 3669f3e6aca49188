"""Attribution beyond classifiers: tiny models are trained here, and retrained on subsets to check their scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from app.numerics.attribution.datamodel import subset_masks
from app.numerics.attribution.generative import (
    contrastive_margin,
    denoising_output,
    next_token_doubt,
    next_token_margin,
)
from app.numerics.attribution.layouts import Inputs
from app.numerics.attribution.lds import LinearDatamodellingScore, linear_datamodelling_score
from app.numerics.attribution.quantised import quantise
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.sketch import GradientSketch
from app.numerics.attribution.taps import TappedNetwork
from app.numerics.attribution.trak import Checkpoint, trak_scores

SUBSETS, RETRAININGS = 40, 2


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Task(NamedTuple):
    """A tiny model, how it learns from some rows, and what is attributed."""

    make: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor], Tensor]
    inputs: Callable[[Tensor], Inputs]
    output: Callable[[nn.Module, Tensor], Callable[[Tensor], Tensor]]
    doubt: Callable[[nn.Module, Tensor], Tensor]
    train: Tensor
    targets: Tensor
    steps: int = 80


def fitted(task: Task, rows: Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = task.make()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(task.steps):
        optimiser.zero_grad()
        task.loss(network, rows).backward()
        optimiser.step()
    return network.eval()


def features(task: Task, network: nn.Module, rows: Tensor) -> Tensor:
    inputs = task.inputs(rows)
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    shapes = tuple({0: torch.export.Dim("batch")} for _ in several)
    graph = (
        torch.export.export(network, several, dynamic_shapes=shapes).run_decompositions({}).module(check_guards=False)
    )
    tapped = TappedNetwork(graph, tuple(one[:1] for one in several))
    assert tapped.untapped == ()
    sketch = GradientSketch(tapped.taps, 4096, seed=0)
    return sketch.features(tapped.factors(inputs, task.output(network, rows))[1])


def score(task: Task, checkpoints: int = 3) -> LinearDatamodellingScore:
    points = []
    for seed in range(checkpoints):
        network = fitted(task, task.train, 100 + seed)
        stored = quantise(features(task, network, task.train))
        doubt = task.doubt(network, task.train).detach()
        points.append(Checkpoint(stored, Spectrum.of([stored.rows()]), features(task, network, task.targets), doubt))
    scores = trak_scores(points, 1.0)
    masks = subset_masks(SUBSETS, len(task.train), 0.5, generator(1))
    truth = torch.stack([torch.stack([retrained(task, mask, seed) for mask in masks]) for seed in range(RETRAININGS)])
    return linear_datamodelling_score(scores, masks, truth, generator(2), draws=200)


def retrained(task: Task, mask: Tensor, seed: int) -> Tensor:
    network = fitted(task, task.train[mask], seed)
    inputs = task.inputs(task.targets)
    with torch.no_grad():
        return task.output(network, task.targets)(network(*(inputs if isinstance(inputs, tuple) else (inputs,))))


VOCABULARY, LENGTH = 10, 9


class LanguageModel(nn.Module):
    """The next token from the last two."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, 12)
        self.hidden = nn.Linear(24, 24)
        self.out = nn.Linear(24, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        now = self.table(tokens)
        before = torch.cat([torch.zeros_like(now[:, :1]), now[:, :-1]], dim=1)
        return self.out(torch.tanh(self.hidden(torch.cat([now, before], dim=2))))


def dialects(count: int, seed: int) -> Tensor:
    """Sequences of five kinds: each kind prefers its own step from token to token."""
    random = generator(seed)
    kind = torch.arange(count) % 5
    tokens = torch.randint(VOCABULARY, (count, 1), generator=random)
    for _ in range(LENGTH - 1):
        step = torch.where(
            torch.rand(count, generator=random) < 0.8, kind + 1, torch.randint(9, (count,), generator=random)
        )
        tokens = torch.cat([tokens, (tokens[:, -1:] + step[:, None]) % VOCABULARY], dim=1)
    return tokens


def language() -> Task:
    def loss(network: nn.Module, tokens: Tensor) -> Tensor:
        logits = network(tokens)[:, :-1].flatten(0, 1)
        return nn.functional.cross_entropy(logits, tokens[:, 1:].flatten())

    return Task(
        make=LanguageModel,
        loss=loss,
        inputs=lambda tokens: tokens,
        output=lambda _network, tokens: lambda logits: next_token_margin(logits, tokens),
        doubt=lambda network, tokens: next_token_doubt(network(tokens), tokens),
        train=dialects(60, 1),
        targets=dialects(30, 2),
    )


class TwoTowers(nn.Module):
    """Images of 6 numbers, texts of 3 tokens, embeddings of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
        self.table = nn.Embedding(VOCABULARY, 12)
        self.text = nn.Linear(12, 8)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        return torch.stack([self.image(image), self.text(self.table(tokens).mean(dim=1))], dim=1)


SCALE = 5.0


def captioned(count: int, seed: int) -> Tensor:
    """Rows of 6 image numbers and 3 tokens; what the tokens mean shows in the image."""
    random = generator(seed)
    meaning = torch.randn(VOCABULARY, 6, generator=generator(0))
    tokens = torch.randint(VOCABULARY, (count, 3), generator=random)
    image = meaning[tokens].mean(dim=1) + 0.3 * torch.randn(count, 6, generator=random)
    return torch.cat([image, tokens.float()], dim=1)


def contrastive() -> Task:
    train = captioned(60, 1)

    def inputs(rows: Tensor) -> tuple[Tensor, Tensor]:
        return rows[:, :6], rows[:, 6:].long()

    def loss(network: nn.Module, rows: Tensor) -> Tensor:
        image, text = nn.functional.normalize(network(*inputs(rows)), dim=2).unbind(1)
        logits, own = SCALE * image @ text.T, torch.arange(len(rows))
        return nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)

    def output(network: nn.Module, _rows: Tensor) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            bank = network(*inputs(train))
        return lambda pairs: contrastive_margin(pairs, bank[:, 0], bank[:, 1], SCALE)

    def doubt(network: nn.Module, rows: Tensor) -> Tensor:
        return torch.sigmoid(-output(network, rows)(network(*inputs(rows))) / 2)

    return Task(TwoTowers, loss, inputs, output, doubt, train, captioned(30, 2))


class Denoiser(nn.Module):
    """Predicts the noise in a noisy point of the plane, given the step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        return self.net(torch.cat([noisy, step], dim=1))


DRAWS, KEPT = 16, 0.6


def diffusion() -> Task:
    """Points of three clusters; every row is noised by draws of its own, the same in every training."""

    def points(count: int, seed: int) -> Tensor:
        centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
        place = centres[torch.arange(count) % 3] + 0.4 * torch.randn(count, 2, generator=generator(seed))
        noise = torch.randn(count, 2 * DRAWS, generator=generator(seed + 50))
        return torch.cat([place, noise], dim=1)

    def noisy(rows: Tensor) -> tuple[Tensor, Tensor]:
        noise = rows[:, 2:].reshape(-1, DRAWS, 2)
        mixed = KEPT**0.5 * rows[:, None, :2] + (1 - KEPT) ** 0.5 * noise
        return mixed.flatten(0, 1), noise.flatten(0, 1)

    def inputs(rows: Tensor) -> tuple[Tensor, Tensor]:
        mixed, _ = noisy(rows)
        return mixed, torch.full((len(mixed), 1), 1 - KEPT)

    def output(_network: nn.Module, rows: Tensor) -> Callable[[Tensor], Tensor]:
        _, noise = noisy(rows)
        return lambda predicted: denoising_output(predicted, noise)

    def loss(network: nn.Module, rows: Tensor) -> Tensor:
        return -output(network, rows)(network(*inputs(rows))).mean()

    return Task(
        Denoiser, loss, inputs, output, lambda _n, rows: torch.ones(len(rows)), points(45, 1), points(24, 2), 60
    )


@pytest.mark.parametrize("task", [language(), contrastive()], ids=["language model", "contrastive"])
def test_scores_predict_retraining(task: Task) -> None:
    found = score(task)
    assert found.low > 0.1
    assert found.value > 0.25


def test_diffusion_scores_at_a_step_predict_retraining() -> None:
    """Features of a row are the mean over its noise draws, as its output is."""
    task = diffusion()
    network = fitted(task, task.train, 100)
    own, other = (features(task, network, rows) for rows in (task.train, task.targets))
    own, other = (side.reshape(-1, DRAWS, side.shape[1]).mean(dim=1) for side in (own, other))
    stored = quantise(own)
    scores = trak_scores([Checkpoint(stored, Spectrum.of([stored.rows()]), other, torch.ones(len(own)))], 1.0)
    masks = subset_masks(SUBSETS, len(task.train), 0.5, generator(1))
    runs = [torch.stack([retrained(task, mask, seed) for mask in masks]) for seed in range(RETRAININGS)]
    truth = torch.stack(runs).reshape(RETRAININGS, SUBSETS, -1, DRAWS).mean(dim=3)
    found = linear_datamodelling_score(scores, masks, truth, generator(2), draws=200)
    assert found.low > 0.05
    assert found.value > 0.2


def test_next_token_margin_is_the_mean_of_log_odds() -> None:
    logits, tokens = torch.randn(3, 5, 7, dtype=torch.float64), torch.randint(7, (3, 5))
    p = logits.softmax(dim=2)[:, :-1].gather(2, tokens[:, 1:, None])[..., 0]
    torch.testing.assert_close(next_token_margin(logits, tokens), (p / (1 - p)).log().mean(dim=1))
    torch.testing.assert_close(next_token_doubt(logits, tokens), (1 - p).mean(dim=1))
    counted = torch.zeros(3, 5, dtype=torch.bool)
    counted[:, 2] = True
    torch.testing.assert_close(next_token_margin(logits, tokens, counted), (p / (1 - p)).log()[:, 1])


def test_contrastive_margin_depends_on_its_own_pair_alone() -> None:
    pairs, images, texts = torch.randn(4, 2, 6), torch.randn(9, 6), torch.randn(9, 6)
    whole = contrastive_margin(pairs, images, texts, 3.0)
    torch.testing.assert_close(whole[2:3], contrastive_margin(pairs[2:3], images, texts, 3.0))
    unit = nn.functional.normalize(pairs, dim=2)
    own = 3 * (unit[:, 0] * unit[:, 1]).sum(1)
    expected = 2 * own
    for side, bank in ((0, texts), (1, images)):
        others = 3 * unit[:, side] @ nn.functional.normalize(bank, dim=1).T
        expected = expected - others.exp().sum(1).log()
    torch.testing.assert_close(whole, expected)


def test_denoising_output_is_minus_the_error() -> None:
    predicted, noise = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    expected = torch.stack([-((p - e) ** 2).mean() for p, e in zip(predicted, noise, strict=True)])
    torch.testing.assert_close(denoising_output(predicted, noise), expected)
