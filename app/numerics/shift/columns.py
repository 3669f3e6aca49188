"""Many logistic regressions on the same rows at once, one for each column of labels."""

from __future__ import annotations

import numpy as np
from scipy import special

from app.numerics.shift.estimates import Floats, Ints


def fit_columns(x: Floats, labels: Ints, penalty: float, *, steps: int = 60, tolerance: float = 1e-3) -> Floats:
    """Minimise Σ log-loss + penalty/2 · ‖w‖² for every column of labels.

    Args:
        x: float64 [n, d]; a constant column is penalised like the others.
        labels: int64 [n, p] of 0 and 1.
        penalty: positive.
        steps: at most so many.
        tolerance: stop when no entry of a gradient exceeds tolerance · n.

    Returns:
        float64 [d, p]: log-odds of 1 are x @ result.

    Raises:
        ValueError: the penalty is not positive.

    Source: Böhning and Lindsay 1988: ¼ XᵀX bounds the Hessian, whatever the labels, so that one inverse serves every
    column; momentum after Nesterov 1983.
    """
    if penalty <= 0:
        raise ValueError("The penalty must be positive.")
    inverse = np.linalg.inv(0.25 * x.T @ x + penalty * np.eye(x.shape[1]))
    weights = np.zeros((x.shape[1], labels.shape[1]))
    ahead, momentum = weights, 1.0
    for _ in range(steps):
        slope = x.T @ (special.expit(x @ ahead) - labels) + penalty * ahead
        if np.abs(slope).max(initial=0.0) <= tolerance * len(x):
            break
        after = ahead - inverse @ slope
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = after + (momentum - 1) / grown * (after - weights)
        weights, momentum = after, grown
    return ahead
