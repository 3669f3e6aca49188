"""Agreement of two reviewers beyond chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


class Kappa(NamedTuple):
    """Cohen's kappa with its large-sample interval and what it was computed from."""

    kappa: float
    low: float
    high: float
    n: int
    observed: float
    expected: float


def cohens_kappa(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Kappa:
    """Cohen's kappa of two reviewers' verdicts on the same items.

    `kappa = (p_o - p_e) / (1 - p_e)`, with `p_o` the observed and `p_e` the chance agreement from the margins.

    Args:
        first, second: verdicts of shape [n], any one dtype that can be compared and sorted, n >= 1.
        level: two-sided coverage of the interval in (0, 1).

    Returns:
        `Kappa`: kappa in [-1, 1] (1 = full agreement, 0 = chance), the interval `kappa ± z se` clipped to
        [-1, 1]. Where both gave one and the same verdict to every item, chance agreement is 1 and kappa is NaN.

    Raises:
        ValueError: no items, or different lengths.

    Source: Cohen, "A coefficient of agreement for nominal scales", 1960; standard error: Fleiss, Cohen, Everitt,
    "Large sample standard errors of kappa and weighted kappa", Psychological Bulletin 1969, eq. (8).
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError("both reviewers must have judged the same items, at least one")
    names, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (codes[: len(a)], codes[len(a) :]), 1.0 / len(a))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float(np.trace(table)), float(rows @ columns)
    if len(names) == 1:
        return Kappa(float("nan"), -1.0, 1.0, len(a), observed, expected)
    kappa = (observed - expected) / (1 - expected)
    half = float(special.ndtri((1 + level) / 2)) * _standard_error(table, kappa, observed, expected, len(a))
    return Kappa(kappa, max(kappa - half, -1.0), min(kappa + half, 1.0), len(a), observed, expected)


def _standard_error(table: np.ndarray, kappa: float, observed: float, expected: float, n: int) -> float:
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    sums = rows[:, None] + columns[None, :]
    diagonal = np.diag(table) * (1 - (rows + columns) * (1 - kappa)) ** 2
    away = (1 - kappa) ** 2 * (table * sums.T**2)[~np.eye(len(table), dtype=bool)].sum()
    variance = diagonal.sum() + away - (kappa - expected * (1 - kappa)) ** 2
    return float(np.sqrt(max(variance, 0.0) / n) / (1 - expected))
