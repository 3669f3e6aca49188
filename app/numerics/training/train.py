"""Train a classifier on some rows, and read its margins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from app.numerics.attribution.outputs import margin
from app.numerics.training.augment import augmented
from app.numerics.training.average import WeightAverage
from app.numerics.training.settings import TrainingSettings, momentum_at, rate_at

Fetch = Callable[[Tensor], Tensor]
"""Indices int64 [b], ascending or not → pixels uint8 [b, height, width, channels] on the CPU."""
ToInput = Callable[[Tensor], Tensor]
"""Pixels uint8 [b, height, width, channels] → what the network takes, float32 [b, channels, height, width]."""
_READ = 256


class Rows(NamedTuple):
    """Labelled images: `fetch` reads pixels by index, `labels` is int64 [n], `to_input` prepares a batch.

    `unit` float32 [channels, 1, 1] is what a step of a pixel from 0 to 1 is in the network's input.
    """

    fetch: Fetch
    labels: Tensor
    to_input: ToInput
    unit: Tensor | None = None


class Outputs(NamedTuple):
    """`margins` float32 [n], log-odds of the true class, and whether the largest score is its own, bool [n]."""

    margins: Tensor
    right: Tensor


def train(
    network: nn.Module, rows: Rows, chosen: Tensor, settings: TrainingSettings, seed: int, device: torch.device
) -> Iterator[float]:
    """Train `network` in place; yields the mean loss after each epoch.

    A row that is not chosen is never read: it has no effect at all. The same seed gives the same weights on the same
    device, dropout included.

    Args:
        network: its parameters are moved to `device` (channels last in memory, the faster order for convolutions) and
            changed; in evaluation mode between epochs.
        rows: the images.
        chosen: indices int64 of the rows to train on, at least 1.
        settings: how.
        seed: of the order of the rows, the augmentation, the noise and dropout.
        device: where to compute.

    Raises:
        ValueError: no rows, or the network returns something else than [b, classes] in training.
        FloatingPointError: the loss is not finite.
    """
    if not len(chosen):
        raise ValueError("There are no rows to train on.")
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = WeightAverage(network, settings.average) if settings.average else None
    optimiser, generator = _optimiser(network, settings), torch.Generator().manual_seed(seed)
    per_epoch = len(_batches(chosen, settings.batch_size))
    steps = per_epoch * settings.epochs
    for epoch in range(settings.epochs):
        order = chosen[torch.randperm(len(chosen), generator=generator)]
        total = torch.zeros((), device=device)
        with _seeded(seed * 1_000_003 + epoch, device):
            network.train()
            for place, batch in enumerate(_batches(order, settings.batch_size)):
                _set(optimiser, settings, epoch * per_epoch + place, steps)
                total += _step(network, optimiser, rows, batch, settings, generator, device) * len(batch)
                if average:
                    average.follow()
            network.eval()
        loss = float(total) / len(chosen)
        if not loss < float("inf"):
            raise FloatingPointError(f"The loss is not finite after epoch {epoch + 1}.")
        if average and epoch == settings.epochs - 1:
            average.settle()
        yield loss


@torch.inference_mode()
def outputs(network: nn.Module, rows: Rows, device: torch.device) -> Outputs:
    """Margins of all rows under a network in evaluation mode; a row without a label is taken at its largest score."""
    margins, right = [], []
    for places in torch.split(torch.arange(len(rows.labels)), _READ):
        logits = network(rows.to_input(rows.fetch(places).to(device))).float()
        labels, predicted = rows.labels[places].to(device), logits.argmax(dim=1)
        own = torch.where(labels >= 0, labels, predicted)
        margins.append(margin(logits, own).cpu())
        right.append((predicted == own).cpu())
    return Outputs(torch.cat(margins), torch.cat(right))


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    rows: Rows,
    batch: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    pixels = augmented(rows.fetch(batch), settings.shift, settings.mirror, generator).to(device)
    labels = rows.labels[batch].to(device)
    inputs = rows.to_input(pixels)
    if settings.noise:
        inputs = _noisy(inputs, rows.unit, settings.noise, generator)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        logits = network(inputs)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError("in training it returns something else than one row of scores for each image.")
    loss = cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if settings.clip:
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
    optimiser.step()
    return loss.detach()


def _noisy(inputs: Tensor, unit: Tensor | None, noise: float, generator: torch.Generator) -> Tensor:
    """Inputs with Gaussian noise (Cohen et al. 2019, section 3.3), drawn on the CPU: every device sees the same."""
    drawn = noise * torch.randn(inputs.shape, generator=generator)
    return inputs + (drawn if unit is None else drawn * unit).to(inputs)


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Pieces of `size`; a single row that is left over joins the piece before, since batch norm needs two."""
    pieces = list(torch.split(order, size))
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [torch.cat(pieces[-2:])]
    return pieces


def _set(optimiser: torch.optim.Optimizer, settings: TrainingSettings, step: int, steps: int) -> None:
    """Learning rate and momentum of a step."""
    for group in optimiser.param_groups:
        group["lr"], momentum = rate_at(settings, step, steps), momentum_at(settings, step, steps)
        group.update({"betas": (momentum, 0.999)} if settings.optimiser == "adamw" else {"momentum": momentum})


def _optimiser(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    parameters = [parameter.requires_grad_() for parameter in network.parameters()]
    rate, decay, momentum = settings.learning_rate, settings.weight_decay, settings.momentum
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, betas=(momentum, 0.999), weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay, nesterov=momentum > 0)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the process's random numbers, which dropout draws from, and forbid kernels whose sums have no order.

    Afterwards both are as before.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed % 2**63)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
