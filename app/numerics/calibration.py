"""How far a classifier's confidence is from its accuracy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.numerics.intervals import Floats, wilson_interval


class ReliabilityTable(NamedTuple):
    """One row per confidence bin; arrays of shape [bins], empty bins have n = 0 and NaN means."""

    lower: Floats
    upper: Floats
    n: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    low: Floats
    high: Floats


class CalibrationError(NamedTuple):
    """Expected calibration error with its bootstrap interval and the number of rows."""

    value: float
    low: float
    high: float
    n: int


def reliability_table(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 15,
    level: float = 0.95,
) -> ReliabilityTable:
    """Accuracy against confidence, bin by bin.

    Args:
        confidence: probability of the predicted class, float [n] in [0, 1].
        correct: whether the prediction was right, bool [n].
        bins: number of bins of equal width on [0, 1], at least 1.
        level: coverage of the Wilson interval of each bin's accuracy.

    Returns:
        `ReliabilityTable`; bin i holds confidences in (lower, upper], the first bin its lower edge too.

    Raises:
        ValueError: different lengths, confidence outside [0, 1] or no bins.

    Source: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, section 2.
    """
    p, right = _checked(confidence, correct)
    edges = _edges(bins)
    index = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, len(edges) - 2)
    n = np.bincount(index, minlength=len(edges) - 1)
    hits = np.bincount(index, weights=right, minlength=len(n))
    low, high = wilson_interval(hits, n, level)
    mean = _ratio(np.bincount(index, weights=p, minlength=len(n)), n)
    return ReliabilityTable(edges[:-1], edges[1:], n, mean, _ratio(hits, n), low, high)


def expected_calibration_error(
    confidence: ArrayLike,
    correct: ArrayLike,
    generator: np.random.Generator,
    bins: int = 15,
    level: float = 0.95,
    resamples: int = 1000,
) -> CalibrationError:
    """Expected calibration error `sum over bins of n_b / n |accuracy_b - confidence_b|`, in [0, 1], 0 = best.

    Args:
        confidence, correct, bins: as for `reliability_table`.
        generator: source of the bootstrap.
        level: coverage of the percentile interval.
        resamples: bootstrap draws. Rows are drawn as counts of (bin, right or wrong) cells, each with its mean
            confidence, so a million rows cost no more than a thousand.

    Returns:
        `CalibrationError`. The plug-in value and its interval lean upwards at small n (Kumar, Liang, Ma 2019):
        noise inside a bin never cancels.

    Raises:
        ValueError: as `reliability_table`, or no rows.

    Source: Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    p, right = _checked(confidence, correct)
    if len(p) == 0:
        raise ValueError("calibration needs at least one row")
    edges = _edges(bins)
    cells = len(edges) - 1
    index = np.clip(np.searchsorted(edges, p, side="left") - 1, 0, cells - 1)
    cell = index * 2 + right.astype(np.int64)
    counts = np.bincount(cell, minlength=2 * cells)
    gap = np.bincount(cell, weights=right - p, minlength=2 * cells) / np.maximum(counts, 1)
    draws = generator.multinomial(len(p), counts / len(p), size=resamples)
    low, high = np.quantile(_binned_error(draws, gap), [(1 - level) / 2, (1 + level) / 2])
    return CalibrationError(float(_binned_error(counts[None], gap)[0]), float(low), float(high), len(p))


def _binned_error(counts: NDArray[np.int64], gap: Floats) -> Floats:
    per_bin = (counts * gap).reshape(len(counts), -1, 2).sum(axis=2)
    return np.asarray(np.abs(per_bin).sum(axis=1) / counts.sum(axis=1))


def _edges(bins: int) -> Floats:
    if bins < 1:
        raise ValueError("at least one bin is needed")
    return np.linspace(0.0, 1.0, bins + 1)


def _ratio(total: ArrayLike, n: NDArray[np.int64]) -> Floats:
    return np.asarray(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    p = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(correct, dtype=bool)
    if p.ndim != 1 or p.shape != right.shape or not np.all((p >= 0) & (p <= 1)):
        raise ValueError("confidence and correct must be arrays of one length, confidence in [0, 1]")
    return p, right
