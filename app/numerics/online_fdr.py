"""False-discovery control over a stream of questions that an analyst asks one after another (LORD++).

Each answer must stand before the next question is known, so the offline correction does not apply. LORD++ spends
a wealth `alpha` over the stream and earns some back with every rejection.

Sources: Ramdas, Yang, Wainwright, Jordan, "Online control of the false discovery rate with decaying memory",
NeurIPS 2017, section 3 (LORD++). Any decreasing sequence gamma with sum 1 is valid; the power law is that of Ramdas,
Zrnic, Wainwright, Jordan, "SAFFRON", ICML 2018, section 4: an analyst asks tens of questions, and it spends most
of the wealth on those, where the sequence of Javanmard and Montanari (2018) keeps half of it beyond a million.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

GAMMA_EXPONENT = 1.6


def gamma_sequence(length: int) -> Floats:
    """The weights `gamma_j = j^-1.6 / zeta(1.6)`, j = 1 … length: float64, positive, decreasing, infinite sum 1."""
    j = np.arange(1, length + 1, dtype=np.float64)
    return np.asarray(j**-GAMMA_EXPONENT / special.zeta(GAMMA_EXPONENT))


def online_adjusted_p_values(p_values: ArrayLike) -> Floats:
    """Online-adjusted p-value of every question: the smallest `alpha` at which LORD++ would call it a finding.

    With initial wealth `alpha / 2`, LORD++ rejects question t when its p-value is at most `alpha/2 gamma_t +
    alpha/2 gamma_(t - tau_1) + alpha sum over j >= 2 of gamma_(t - tau_j)`, where `tau_j` is the time of the j-th
    rejection before t. This keeps FDR <= alpha at every time when null p-values are independent, and mFDR <= alpha
    when they are valid given the decisions so far. It is monotone in alpha (a larger alpha rejects a superset), so
    the usual definition of an adjusted p-value holds (Wright, "Adjusted p-values for simultaneous inference",
    Biometrics 1992): `adjusted_t <= alpha` exactly when LORD++ at alpha rejects t, for every alpha in (0, 1). A value
    depends on the questions asked before it and never changes afterwards.

    Args:
        p_values: float [t], in the order of asking, each in [0, 1].

    Returns:
        float64 [t] in [0, 1]; 1 also where no alpha <= 1 suffices. Takes O(t² log t).

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    p = _checked(p_values)
    gamma = gamma_sequence(len(p))
    adjusted = np.empty(len(p))
    for t in range(len(p)):
        adjusted[t] = _smallest_alpha(float(p[t]), adjusted[:t], gamma)
    return np.minimum(adjusted, 1.0)


def _smallest_alpha(p: float, earlier: Floats, gamma: Floats) -> float:
    """Walk over the values of alpha at which one more earlier question becomes a rejection.

    Between two such values the level is `alpha` times a constant, so the first segment that holds `p / constant`
    (or whose lower end already exceeds it) gives the infimum.
    """
    t = len(earlier)
    order = np.argsort(earlier, kind="stable")
    starts = np.concatenate([[0.0], earlier[order]])
    weights = gamma[t - 1 - order]
    first = np.minimum.accumulate(order)
    earned = np.cumsum(weights) - gamma[t - 1 - first] / 2
    factors = gamma[t] / 2 + np.concatenate([[0.0], earned])
    candidates = np.maximum(p / factors, starts)
    ends = np.concatenate([starts[1:], [np.inf]])
    inside = np.flatnonzero(candidates < ends)
    return float(candidates[inside[0]])


def _checked(p_values: ArrayLike) -> Floats:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError("p-values must be one array with values in [0, 1]")
    return p
