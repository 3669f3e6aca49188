"""How many slices a class gets and where each ends, decided on held-out scores only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from app.numerics.intervals import Floats

Bools = NDArray[np.bool_]
SHARES = (0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25)
FEWEST_MEMBERS = 5


class SliceMixture(NamedTuple):
    """Easy rows and k slices, as fitted to held-out scores and outcomes; entry 0 stands for the easy rows."""

    weight: Floats
    """float64 [k + 1], sums to 1."""
    shift: Floats
    """float64 [k], in standard deviations of the easy rows' scores."""
    rate: Floats
    """float64 [k + 1], error rates."""
    log_likelihood: float
    """Nats above one error rate and no slices."""


def membership_cuts(scores: Floats, errors: Bools) -> Floats:
    """Score from which a row belongs to each slice.

    Of the top shares 2 … 25 % the one whose errors exceed the class rate most clearly is taken:
    `z = (errors in top - m r) / √(m r (1 - r) (1 - m/n))`.

    Args:
        scores: held-out scores, float [n, k], large = in the slice.
        errors: bool [n].

    Returns:
        float64 [k], midway between the last member's score and the next row's.
    """
    n, rate = len(errors), errors.mean()
    sizes = np.unique([min(max(int(np.ceil(share * n)), FEWEST_MEMBERS), n - 1) for share in SHARES])
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.cumsum(errors[order], axis=0)[sizes - 1]
    spread = np.sqrt(sizes * rate * (1 - rate) * (1 - sizes / n))
    best = sizes[np.argmax((hits - (sizes * rate)[:, None]) / spread[:, None], axis=0)]
    ranked = np.take_along_axis(scores, order, axis=0)
    columns = np.arange(scores.shape[1])
    return np.asarray((ranked[best - 1, columns] + ranked[best, columns]) / 2, dtype=np.float64)


def choose_slices(heldout: list[Floats], errors: Bools) -> tuple[int, NDArray[np.int64], Floats]:
    """Number of slices, and which of them earn their place.

    The number k is the one of best held-out likelihood (`fit_slice_mixture`) less the Bayesian penalty for its 3k
    parameters. Outcomes alone could not tell: one blended direction finds as many errors as the slices that it blends.
    Of the k slices those stay whose rows, shared out by score alone, hold more errors than the class rate gives: a
    cluster of merely unusual rows goes, a small slice that the folds see dimly stays.

    Args:
        heldout: for k = 1, 2, … the held-out scores float [n, k] of a set of k slices.
        errors: bool [n].

    Returns:
        `(k, order, gains)`: the chosen k, the kept columns int64 [m] of its set, largest gain first, and the errors of
        each beyond the class rate, float64 [m]. At least one slice always stays; confirm rows decide whether it is
        one.

    Source: Schwarz, "Estimating the dimension of a model", 1978, for the penalty.
    """
    penalty = 1.5 * np.log(len(errors))
    mixtures = [fit_slice_mixture(scores, errors) for scores in heldout]
    k = int(np.argmax([m.log_likelihood - penalty * len(m.shift) for m in mixtures])) + 1
    gains = _gains(heldout[k - 1], errors, mixtures[k - 1])
    order = np.argsort(-gains, kind="stable")
    stays = gains[order] > 0
    stays[0] = True
    return k, order[stays], gains[order][stays]


def fit_slice_mixture(scores: Floats, errors: Bools, iterations: int = 50) -> SliceMixture:
    """Fit "easy rows and k slices" to held-out scores and outcomes by EM.

    A row of slice j has its score shifted by m_j standard deviations and fails at rate r_j; relative to an easy row its
    density is `exp(m_j s_j - m_j²/2) r_j^e (1 - r_j)^(1-e)`. Scores are held out, so a direction that only fits its
    own rows has no shift and gains nothing.

    Args:
        scores: held-out scores, float [n, k].
        errors: bool [n], with errors and right rows.
        iterations: EM steps.

    Returns:
        `SliceMixture`.

    Source: Dempster, Laird, Rubin, "Maximum likelihood from incomplete data via the EM algorithm", 1977.
    """
    s, outcome = _standardised(scores), errors.astype(np.float64)
    n, k = s.shape
    top = s >= np.quantile(s, 0.9, axis=0)
    shift = np.maximum((s * top).sum(axis=0) / top.sum(axis=0), 0.0)
    rate = np.concatenate([[outcome.mean()], (outcome[:, None] * top).sum(axis=0) / top.sum(axis=0)])
    weight = np.concatenate([[0.5], np.full(k, 0.5 / k)])
    for _ in range(iterations):
        share = special.softmax(_log_joint(s, weight, shift) + _log_outcome(outcome, rate), axis=1)
        total = share.sum(axis=0) + 1e-9
        weight, rate = total / total.sum(), (share * outcome[:, None]).sum(axis=0) / total
        shift = np.maximum((share[:, 1:] * s).sum(axis=0) / total[1:], 0.0)
    joint = _log_joint(s, weight, shift) + _log_outcome(outcome, rate)
    alone = -n * special.entr([outcome.mean(), 1 - outcome.mean()]).sum()
    return SliceMixture(weight, shift, rate, float(special.logsumexp(joint, axis=1).sum() - alone))


def _gains(scores: Floats, errors: Bools, mixture: SliceMixture) -> Floats:
    """Errors beyond the class rate in each slice."""
    share = special.softmax(_log_joint(_standardised(scores), mixture.weight, mixture.shift), axis=1)[:, 1:]
    return np.asarray((share * (errors - errors.mean())[:, None]).sum(axis=0))


def _log_joint(s: Floats, weight: Floats, shift: Floats) -> Floats:
    density = np.concatenate([np.zeros((len(s), 1)), s * shift - shift**2 / 2], axis=1)
    return np.asarray(density + np.log(np.maximum(weight, 1e-12)))


def _log_outcome(outcome: Floats, rate: Floats) -> Floats:
    kept = np.clip(rate, 1e-4, 1 - 1e-4)
    return np.asarray(np.where(outcome[:, None] > 0, np.log(kept), np.log1p(-kept)))


def _standardised(scores: Floats) -> Floats:
    """Median 0 and unit spread of the lower half, which slices (at most a quarter of the rows) hardly touch."""
    low, middle = np.quantile(scores, [0.15866, 0.5], axis=0)
    return np.asarray((scores - middle) / np.maximum(middle - low, 1e-9), dtype=np.float64)
