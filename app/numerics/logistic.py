"""Multinomial logistic regression with an L2 penalty, for many small fits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fit_logistic(
    x: Floats, y: NDArray[np.int64], classes: int, penalty: float, *, steps: int = 100, tolerance: float = 1e-4
) -> Floats:
    """Minimise Σ cross-entropy + penalty/2 · ‖W‖² by steps with a fixed bound of the Hessian, which never overshoot.

    Args:
        x: float64 [n, d]; the last column should be constant, it is penalised like the others.
        y: int64 [n] in [0, classes); a class may be missing.
        classes: number of columns of W.
        penalty: positive.
        steps: at most so many.
        tolerance: stop when no entry of the gradient exceeds tolerance · n.

    Returns:
        W float64 [d, classes]; zeros for n = 0.

    Raises:
        ValueError: the penalty is not positive.

    Source: Böhning 1992, "Multinomial logistic regression algorithm": the Hessian is at most ½ (I − 11ᵀ/C) ⊗ XᵀX; its
    momentum after Nesterov 1983, restarted where the gradient turns (O'Donoghue, Candès 2015).
    """
    if penalty <= 0:
        raise ValueError("The penalty must be positive.")
    weights = np.zeros((x.shape[1], classes))
    if not len(x):
        return weights
    inverse = np.linalg.inv(0.5 * x.T @ x + penalty * np.eye(x.shape[1]))
    wanted = np.eye(classes)[y]
    ahead, momentum = weights, 1.0
    for _ in range(steps):
        slope = x.T @ (_softmax(x @ ahead) - wanted) + penalty * ahead
        if np.abs(slope).max() <= tolerance * len(x):
            return ahead
        after = ahead - inverse @ slope
        if (slope * (after - weights)).sum() > 0:
            momentum = 1.0
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = after + (momentum - 1) / grown * (after - weights)
        weights, momentum = after, grown
    return weights


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Floats = raised / raised.sum(axis=1, keepdims=True)
    return found
