"""From counts to radii: exact bounds of a share, and the L2 radius that a share proves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]


def share_at_least(hits: ArrayLike, n: ArrayLike, alpha: float) -> Floats:
    """The exact one-sided lower bound of a share, which is too high with probability at most `alpha`.

    Args:
        hits: counts, any shape, 0 ≤ hits ≤ n.
        n: draws, at least 1, broadcastable to `hits`.
        alpha: in (0, 1).

    Returns:
        float64 of the broadcast shape, in [0, 1]: the α quantile of Beta(hits, n − hits + 1); 0 where nothing hit.

    Source: Clopper, Pearson, "The use of confidence or fiducial limits", Biometrika 1934.
    """
    k, size = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(n, np.float64))
    found: Floats = np.where(k > 0, special.betaincinv(np.maximum(k, 1.0), size - k + 1, alpha), 0.0)
    return found


def certified_radius(hits: ArrayLike, n: ArrayLike, alpha: float, sigma: float) -> Floats:
    """The L2 radius, in pixels from 0 to 1, within which the smoothed classifier keeps the class that was hit.

    Args:
        hits: how many noisy copies were taken for that class, which was chosen on other copies; any shape.
        n: copies, broadcastable to `hits`.
        alpha: probability of a radius that is too large, at most.
        sigma: standard deviation of the noise.

    Returns:
        float64: σ Φ⁻¹(lower bound); NaN where the bound is at most one half, that is an abstention.

    Source: Cohen, Rosenfeld, Kolter 2019, Theorem 1 with one class against all others, and CERTIFY.
    """
    bound = share_at_least(hits, n, alpha)
    return np.where(bound > 0.5, sigma * special.ndtri(np.maximum(bound, 0.5)), np.nan)


def farthest_radius(n: int, alpha: float, sigma: float) -> float:
    """The largest radius that `n` copies can prove, when every one of them is a hit: σ Φ⁻¹(α^(1/n)).

    Source: Cohen et al. 2019, section 3.2.2.
    """
    return float(sigma * special.ndtri(alpha ** (1 / n)))


def share_needed(radius: ArrayLike, sigma: float) -> Floats:
    """The share above which a radius is certified: Φ(radius / σ), float64."""
    found: Floats = special.ndtr(np.asarray(radius, np.float64) / sigma)
    return found
