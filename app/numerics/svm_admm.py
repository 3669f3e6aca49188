"""A batch of dual linear SVM problems solved together by the alternating direction method of multipliers.

With beta = y * alpha the dual of the C-SVC (Chang & Lin, LIBSVM, 2011, eq. 2) reads

    minimise 1/2 beta' K beta - y' beta   subject to   sum(beta) = 0,   0 <= y * beta <= upper.

Labels enter only the linear term and the box, so the matrix of the quadratic step, (K + rho I)^-1, serves every
labelling of the same rows: one factorisation for all permutations. Iteration: Boyd et al., "Distributed
Optimization and Statistical Learning via the Alternating Direction Method of Multipliers", 2011, sections 3.1.1
(scaled form), 3.4.1 (changing rho), 3.4.3 (over-relaxation) and 5.2 (quadratic programs).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.numerics.svm_kernel import Kernel, ShiftedInverse

RELAXATION = 1.75
CHECK_EVERY = 10
ADAPT_EVERY = 40
SHRINK = 0.8


@dataclass(frozen=True)
class DualSolution:
    """A feasible `beta` [G, Q, n] and its relative duality `gap` [G, Q] (float64)."""

    beta: Tensor
    gap: Tensor


@dataclass
class _State:
    """The iterates [G, Q, n]: `clipped` obeys the box, `free` the equality, `price` is the scaled multiplier."""

    signs: Tensor
    low: Tensor
    high: Tensor
    free: Tensor
    clipped: Tensor
    price: Tensor
    step: Tensor
    intercept: Tensor

    @classmethod
    def start(cls, signs: Tensor, upper: Tensor) -> "_State":
        bound, zero = signs * upper, torch.zeros_like(signs)
        return cls(signs, bound.clamp(max=0), bound.clamp(min=0), zero, zero, zero, zero, zero[..., :1])

    def take(self, groups: Tensor, columns: Tensor) -> "_State":
        return _State(*(value[groups[:, None], columns] for value in vars(self).values()))


def solve_duals(
    kernel: Kernel,
    signs: Tensor,
    upper: Tensor,
    rho: Tensor,
    wanted: Tensor,
    tolerance: float,
    max_iterations: int,
) -> DualSolution:
    """Solve up to G x Q problems over G kernels to a relative duality gap.

    Args:
        kernel: kernels of G sets of n padded rows.
        signs: float32 [G, Q, n], +1 or -1, 0 at padding.
        upper: float32 [G, Q, n], upper bounds of alpha, 0 at padding.
        rho: float32 [G], first penalty, about 1 / C; adapted where a group is slow.
        wanted: bool [G, Q], which problems to solve, at least one; the others may be left at beta = 0, gap infinite.
        tolerance: a problem is solved when (primal - dual) / primal is at most this; it then leaves the batch.
        max_iterations: stop in any case; the gap that was reached is returned.
    """
    beta, gap = torch.zeros_like(signs), torch.full_like(signs[..., 0], torch.inf, dtype=torch.float64)
    groups, columns = _unfinished(wanted)
    state = _State.start(signs[groups[:, None], columns], upper[groups[:, None], columns])
    inverse = ShiftedInverse.of(kernel.take(groups), rho[groups, None, None])
    for iteration in range(CHECK_EVERY, max_iterations + 1, CHECK_EVERY):
        _sweep(state, inverse)
        candidate = balance(state.clipped)
        reached = _relative_gap(inverse.kernel, state, candidate)
        beta[groups[:, None], columns], gap[groups[:, None], columns] = candidate, reached
        todo = reached > tolerance
        if not todo.any():
            break
        kept, part = _unfinished(todo)
        if part.numel() <= SHRINK * columns.numel():
            state, inverse = state.take(kept, part), inverse.take(kept)
            groups, columns = groups[kept], columns[kept].gather(1, part)
        if iteration % ADAPT_EVERY == 0:
            inverse = _adapt(state, inverse)
    return DualSolution(beta, gap)


def _unfinished(todo: Tensor) -> tuple[Tensor, Tensor]:
    """Groups with work left (int64 [H]) and their open columns (int64 [H, K]), filled up with finished ones."""
    kept = todo.any(1).nonzero()[:, 0]
    most = int(todo.sum(1).max())
    return kept, (~todo[kept]).to(torch.int8).argsort(dim=1, stable=True)[:, :most]


def balance(beta: Tensor) -> Tensor:
    """Scale down the heavier side of `beta` [..., n] so that it sums to zero; it stays inside its box."""
    positive = beta.clamp(min=0).sum(-1, keepdim=True)
    negative = positive - beta.sum(-1, keepdim=True)
    least, tiny = torch.minimum(positive, negative), torch.finfo(beta.dtype).tiny
    return beta * torch.where(beta > 0, least / positive.clamp(min=tiny), least / negative.clamp(min=tiny))


def _relative_gap(kernel: Kernel, state: _State, beta: Tensor) -> Tensor:
    scores = kernel.times(beta)
    half_norm = (beta * scores).sum(-1, dtype=torch.float64) / 2
    hinge = (1 - state.signs * (scores + state.intercept)).clamp_(min=0)
    primal = half_norm + ((state.high - state.low) * hinge).sum(-1, dtype=torch.float64)
    dual = (beta * state.signs).sum(-1, dtype=torch.float64) - half_norm
    return (primal - dual) / primal


def _sweep(state: _State, inverse: ShiftedInverse) -> None:
    total = inverse.ones.sum(-1, keepdim=True)
    for _ in range(CHECK_EVERY):
        free = inverse.times(state.signs + inverse.rho * (state.clipped - state.price))
        state.intercept = free.sum(-1, keepdim=True) / total
        state.free = free.sub_(state.intercept * inverse.ones)
        relaxed = torch.lerp(state.clipped, free, RELAXATION).add_(state.price)
        clipped = torch.clamp(relaxed, state.low, state.high)
        state.price = relaxed.sub_(clipped)
        state.step, state.clipped = clipped - state.clipped, clipped


def _adapt(state: _State, inverse: ShiftedInverse) -> ShiftedInverse:
    """Move rho of each group towards equal relative primal and dual residuals (section 3.4.1)."""
    primal = (state.free - state.clipped).norm(dim=-1) / state.clipped.norm(dim=-1)
    dual = state.step.norm(dim=-1) / state.price.norm(dim=-1)
    ratio = (primal / dual).sqrt().nan_to_num(1.0, 1.0, 1.0).clamp(0.1, 10)
    ratio = ratio.log().mean(1).exp()[:, None, None]
    ratio = torch.where((ratio > 2) | (ratio < 0.5), ratio, torch.ones_like(ratio))
    if bool((ratio == 1).all()):
        return inverse
    state.price = state.price / ratio
    return ShiftedInverse.of(inverse.kernel, inverse.rho * ratio)
