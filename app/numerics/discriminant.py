"""Linear discriminants of a class's failures in closed form: leave-one-out hardness, and shrunk directions."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)


def leave_one_out_hardness(features: Tensor, errors: Tensor, ridges: tuple[float, ...] = RIDGES) -> Tensor:
    """Out-of-sample decision value of every row from a balanced least-squares SVM, without refitting.

    Ridge regression of +1 (error) and -1 (right) on the features, both outcomes with equal total weight, intercept
    not penalised. The decision of row i by the model that never saw it is `y_i - r_i / (1 - h_i)`, with residual r and
    leverage h. Of the ridges (in units of the mean squared singular value) the one of best leave-one-out balanced
    accuracy is kept.

    Args:
        features: float [n, d], pre-processed as for the direction.
        errors: bool [n], with at least two errors and two right rows.
        ridges: penalties to choose from.

    Returns:
        float64 [n] on the features' device; **large = hard** (the opposite of the SVM's decision value).

    Raises:
        ValueError: fewer than two errors or two right rows.

    Sources: Suykens and Vandewalle, "Least squares support vector machine classifiers", 1999; Allen, "The
    relationship between variable selection and data augmentation" (PRESS), 1974.
    """
    wrong = errors.to(torch.bool)
    count = int(wrong.sum())
    if min(count, len(wrong) - count) < 2:
        raise ValueError("a direction needs at least two errors and two right rows")
    weight = wrong.double() * (0.5 / count) + (~wrong).double() * (0.5 / (len(wrong) - count))
    target = wrong.double() * 2 - 1
    root = weight.sqrt()
    rows = features.to(torch.float64)
    left, values = _left_singular(root[:, None] * (rows - weight @ rows))
    response = root * (target - weight @ target)
    best, best_accuracy = target, -1.0
    for ridge in ridges:
        kept = values / (values + ridge * values.mean().clamp(min=1e-30))
        leverage = (left**2) @ kept + weight
        residual = response - left @ (kept * (left.T @ response))
        decision = target - residual / root / (1 - leverage).clamp(min=1e-9)
        accuracy = float((decision[wrong] > 0).double().mean() + (decision[~wrong] < 0).double().mean())
        if accuracy > best_accuracy:
            best, best_accuracy = decision, accuracy
    return best


def shrunk_directions(differences: Tensor, residuals: Tensor) -> Tensor:
    """Discriminant directions `S⁻¹ difference` with a Ledoit-Wolf shrunk covariance, scaled to unit variance.

    Args:
        differences: float64 [k, d], class mean minus reference mean.
        residuals: float64 [n, d], rows minus the mean of their own group, n >= 1.

    Returns:
        float64 [k, d] directions w with `w S wᵀ = 1`: a score `x @ w` counts in standard deviations within a group.
        A zero difference gives a zero direction. Solves in the smaller of n and d.

    Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    """
    n, d = residuals.shape
    shrinkage, scale = ledoit_wolf_shrinkage(residuals)
    ridge = max(shrinkage * scale, 1e-12)
    kept = (1 - shrinkage) / n
    if n < d:
        small = residuals @ residuals.T * kept + ridge * torch.eye(n, dtype=residuals.dtype, device=residuals.device)
        inner = torch.linalg.solve(small, residuals @ differences.T)
        raw = (differences - kept * (residuals.T @ inner).T) / ridge
    else:
        full = residuals.T @ residuals * kept + ridge * torch.eye(d, dtype=residuals.dtype, device=residuals.device)
        raw = torch.linalg.solve(full, differences.T).T
    variance = (raw * differences).sum(dim=1, keepdim=True)
    directions: Tensor = raw / variance.clamp(min=1e-24).sqrt()
    return directions


def ledoit_wolf_shrinkage(residuals: Tensor) -> tuple[float, float]:
    """Shrinkage towards the scaled identity and that scale, for rows of mean zero.

    Args:
        residuals: float64 [n, d].

    Returns:
        `(rho, mu)`: `S = (1 - rho) RᵀR/n + rho mu I`, rho in [0, 1], mu the mean variance.

    Source: Ledoit and Wolf 2004, section 3.3.
    """
    n, d = residuals.shape
    gram = residuals @ residuals.T if n < d else residuals.T @ residuals
    mu = float((residuals**2).sum()) / (n * d)
    squared_norm = float((gram**2).sum()) / n**2 / d
    dispersion = squared_norm - mu**2
    fourth = float(((residuals**2).sum(dim=1) ** 2).sum()) / d
    noise = (fourth / n - squared_norm) / n
    rho = 1.0 if dispersion <= 0 else min(max(noise / dispersion, 0.0), 1.0)
    return rho, mu


def _left_singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors [n, r] and squared singular values [r] from the Gram matrix of the smaller side."""
    n, d = matrix.shape
    gram = matrix @ matrix.T if n <= d else matrix.T @ matrix
    values, vectors = torch.linalg.eigh(gram)
    keep = values > values[-1].clamp(min=1e-30) * 1e-10
    values, vectors = values[keep], vectors[:, keep]
    return (vectors, values) if n <= d else (matrix @ vectors / values.sqrt(), values)
