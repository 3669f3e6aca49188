"""Effective robustness: how far a model is above the line that other models' accuracies follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from app.numerics.shift.estimates import Bounded, Floats, percentile_interval
from app.numerics.streams import stream

LEAST = 3
"""Models that a line needs."""
_EDGE = 1e-4


class Line(NamedTuple):
    """logit(shifted accuracy) = slope · logit(accuracy) + intercept."""

    slope: float
    intercept: float
    r_squared: float
    n: int
    """Models."""


class Effective(NamedTuple):
    """A model beside the line."""

    expected: float
    """Accuracy under the shift that the line expects of it."""
    residual: Bounded
    """Its accuracy less what is expected, with `n` the images of the shifted set."""
    outside: bool
    """The model's accuracy is beyond those of the models that the line was fitted to."""


def fit_line(accuracy: ArrayLike, shifted: ArrayLike) -> Line:
    """Fit a line to many models' accuracies on logit axes, by least squares.

    Args:
        accuracy: float [k] in [0, 1], of each model on the original images.
        shifted: float [k], of the same models on the shifted ones.

    Returns:
        `Line`; accuracies are kept within 10⁻⁴ of 0 and 1.

    Raises:
        ValueError: fewer than three models, different lengths, a value outside [0, 1], or one accuracy for all.

    Source: Taori, Dave, Shankar, Carlini, Recht, Schmidt, "Measuring robustness to natural distribution shifts in image
    classification", NeurIPS 2020, section 3.1.
    """
    x, y = _checked(accuracy, shifted)
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    left = y - y.mean() - slope * centred
    spread = float(((y - y.mean()) ** 2).sum())
    return Line(
        slope, float(y.mean() - slope * x.mean()), 1 - float((left**2).sum()) / spread if spread else 1.0, len(x)
    )


def expected_accuracy(line: Line, accuracy: ArrayLike) -> Floats:
    """What the line expects under the shift: float [...] in [0, 1] → float64 [...]."""
    return np.asarray(special.expit(line.slope * _logit(accuracy) + line.intercept), np.float64)


def effective_robustness(
    accuracy: tuple[int, int],
    shifted: tuple[int, int],
    others: tuple[ArrayLike, ArrayLike],
    *,
    seed: int,
    resamples: int = 1000,
) -> Effective:
    """The model's accuracy under the shift less what a line through other models expects of it.

    Args:
        accuracy: right images and all images of the original set.
        shifted: the same of the shifted set.
        others: accuracies float [k] of the other models on both sets, without this model.
        seed: of the bootstrap, which redraws the models of the line and, as binomial counts, both accuracies.
        resamples: of the bootstrap.

    Returns:
        `Effective` with the percentile interval; draws in which the models coincide are left out.

    Raises:
        ValueError: as `fit_line`, or no images.
    """
    if min(accuracy[1], shifted[1]) < 1:
        raise ValueError("both accuracies need images")
    x, y = (np.asarray(values, np.float64) for values in others)
    before, after = accuracy[0] / accuracy[1], shifted[0] / shifted[1]
    expected = float(expected_accuracy(fit_line(x, y), before))
    rng = np.random.Generator(stream(seed, "effective"))
    draws = np.full(resamples, np.nan)
    for place in range(resamples):
        chosen = rng.integers(len(x), size=len(x))
        here = (rng.binomial(accuracy[1], before) / accuracy[1], rng.binomial(shifted[1], after) / shifted[1])
        if len(np.unique(x[chosen])) > 1:
            draws[place] = here[1] - float(expected_accuracy(fit_line(x[chosen], y[chosen]), here[0]))
    residual = percentile_interval(after - expected, draws, shifted[1])
    return Effective(expected, residual, bool(before < x.min() or before > x.max()))


def _logit(share: ArrayLike) -> Floats:
    return np.asarray(special.logit(np.clip(np.asarray(share, np.float64), _EDGE, 1 - _EDGE)))


def _checked(accuracy: ArrayLike, shifted: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(accuracy, np.float64), np.asarray(shifted, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < LEAST:
        raise ValueError(f"a line needs the two accuracies of at least {LEAST} models")
    if not (((x >= 0) & (x <= 1)).all() and ((y >= 0) & (y <= 1)).all()):
        raise ValueError("accuracies lie in [0, 1]")
    if len(np.unique(x)) < 2:
        raise ValueError("all models have one accuracy: no line can be fitted")
    return _logit(x), _logit(y)
