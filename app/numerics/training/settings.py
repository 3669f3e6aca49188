"""What a training does, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine", "one_cycle", "step"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained on a set of rows."""

    epochs: int
    batch_size: int
    learning_rate: float
    """The largest of the schedule."""
    optimiser: Optimiser = "sgd"
    momentum: float = 0.9
    """Of sgd (Nesterov's where positive); β₁ of adamw. The middle of its cycle with `one_cycle`."""
    weight_decay: float = 0.0
    schedule: Schedule = "one_cycle"
    warmup: float = 0.3
    """Share of the steps over which the rate rises; none with `constant` and `step`."""
    label_smoothing: float = 0.0
    shift: int = 0
    """Pixels by which an image is moved at most, each way, its border repeated."""
    mirror: bool = False
    """Whether half of the images are flipped left to right."""
    noise: float = 0.0
    """Standard deviation of the Gaussian noise on every training image, in pixel values from 0 to 1."""
    clip: float = 0.0
    """Largest norm of the gradient, over all parameters; 0: no limit."""
    average: float = 0.0
    """Decay of the moving average of the weights, which the network has at the end; 0: none."""
    precision: Precision = "float32"
    """`bfloat16`: matrix products and convolutions in it, by autocast; weights and loss stay float32."""


def rate_at(settings: TrainingSettings, step: int, steps: int) -> float:
    """The learning rate of step `step` of `steps`, both counted from 0.

    `constant`: the same throughout. `step`: a tenth from half of the steps on, a hundredth from three quarters on (He
    et al. 2016, for CIFAR-10). Else a rise over `warmup`, then half a cosine to zero; `one_cycle` rises along a
    cosine from 1/25 of the rate and ends at 1/250,000 of it (Smith, Topin 2018, with the constants of
    `torch.optim.lr_scheduler.OneCycleLR`), `cosine` rises along a line from 0 (Loshchilov, Hutter 2017).
    """
    peak, risen = settings.learning_rate, settings.warmup * steps
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "step":
        return peak * (1.0 if 2 * step < steps else 0.1 if 4 * step < 3 * steps else 0.01)
    if settings.schedule == "one_cycle":
        return _cycle(settings, step, steps, (peak / 25, peak, peak / 25e4))
    if step < risen:
        return peak * (step + 1) / (risen + 1)
    return _between(peak, 0.0, (step - risen) / (steps - risen))


def momentum_at(settings: TrainingSettings, step: int, steps: int) -> float:
    """The momentum of a step: with `one_cycle` it falls where the rate rises, between m ± (1 − m) / 2."""
    middle = settings.momentum
    if settings.schedule != "one_cycle" or not middle:
        return middle
    low, high = max(middle - (1 - middle) / 2, 0.0), middle + (1 - middle) / 2
    return _cycle(settings, step, steps, (high, low, high))


def _cycle(settings: TrainingSettings, step: int, steps: int, values: tuple[float, float, float]) -> float:
    """From the first value to the second over the warm-up, then to the third."""
    top = max(settings.warmup * steps - 1, 0.0)
    if step < top:
        return _between(values[0], values[1], step / top)
    return _between(values[1], values[2], (step - top) / max(steps - 1 - top, 1e-9))


def _between(start: float, stop: float, share: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
