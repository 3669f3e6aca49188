"""Random sketches of per-example weight gradients, made from their factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.attribution.randomness import signs, stream
from app.numerics.attribution.taps import Factors, Tap


class _Shape(NamedTuple):
    """Rows of the two projections of a weight's gradient [out, in]; equal to the side itself: no projection."""

    out: int
    inner: int


class GradientSketch:
    """Maps the factors of all taps to one feature row per example.

    The gradient G_l [out, in] of weight l becomes P_l G_l Q_lᵀ with random signs in P_l and Q_l; inner products of rows
    are unbiased estimates of the inner products of whole gradients. A weight that is used twice is sketched once,
    from the sum over its uses. A bias counts as a further input that is always one.

    Args:
        taps: as `TappedNetwork.taps`.
        size: features wanted, k; fewer where the network has fewer weights.
        seed, checkpoint: key of the random signs, beside the weight's name.

    Source: Kronecker-structured projection as in Park et al. 2023 (TRAK) section 3, applied to the factors.
    """

    def __init__(self, taps: Sequence[Tap], size: int, seed: int, checkpoint: int = 0) -> None:
        self._taps = tuple(taps)
        sides = {tap.weight: _sides(tap) for tap in taps}
        self._shapes = dict(zip(sides, _shares(list(sides.values()), size), strict=True))
        starts, self.size = {}, 0
        for weight, shape in self._shapes.items():
            starts[weight] = self.size
            self.size += shape.out * shape.inner
        self._starts = starts
        self._left = {w: _projection(self._shapes[w].out, sides[w][0], seed, checkpoint, w, 0) for w in sides}
        self._right = {w: _projection(self._shapes[w].inner, sides[w][1], seed, checkpoint, w, 1) for w in sides}

    def features(self, factors: Sequence[Factors]) -> Tensor:
        """Return float32 [n, k].

        Args:
            factors: as `TappedNetwork.factors` returns them.
        """
        n, device = len(factors[0].inputs), factors[0].inputs.device
        rows = torch.zeros(n, self.size, device=device)
        for tap, pair in zip(self._taps, factors, strict=True):
            start = self._starts[tap.weight]
            part = self._one(tap, pair).reshape(n, -1)
            rows[:, start : start + part.shape[1]] += part
        return rows

    def _one(self, tap: Tap, pair: Factors) -> Tensor:
        left, right = (_on(side, tap.weight, pair.inputs) for side in (self._left, self._right))
        if not tap.convolution:
            a = _project_inputs(pair.inputs, right, tap.bias is not None)
            g = pair.gradients if left is None else pair.gradients @ left.T
            return g.transpose(1, 2) @ a
        if tap.groups > 1:
            return _grouped(tap, pair, left, right)
        a = _project_patches(tap, pair, right)
        g = pair.gradients if left is None else torch.einsum("oc,nchw->nohw", left, pair.gradients)
        return g.flatten(2) @ a.flatten(2).transpose(1, 2)


def _on(side: dict[str, Tensor | None], weight: str, like: Tensor) -> Tensor | None:
    matrix = side[weight]
    if matrix is not None and matrix.device != like.device:
        side[weight] = matrix = matrix.to(like.device)
    return matrix


def _sides(tap: Tap) -> tuple[int, int]:
    return tap.shape[0], math.prod(tap.shape[1:]) + (tap.bias is not None)


def _shares(sides: Sequence[tuple[int, int]], size: int) -> list[_Shape]:
    """Divide the features evenly between the weights; what a small weight leaves goes to the larger ones."""
    shares: dict[int, _Shape] = {}
    left = size
    for done, i in enumerate(sorted(range(len(sides)), key=lambda i: sides[i][0] * sides[i][1])):
        shares[i] = _fit(sides[i], left // (len(sides) - done))
        left -= shares[i].out * shares[i].inner
    return [shares[i] for i in range(len(sides))]


def _fit(sides: tuple[int, int], budget: int) -> _Shape:
    """The pair of rows within the budget that keeps inner products best.

    Their relative variance is about 1/rows for each projected side and nothing for a side that is left whole: so the
    short side stays whole as long as it is shorter than twice the even division.
    """
    short, long = min(sides), max(sides)
    if short * long <= budget:
        return _Shape(*sides)
    even = max(math.isqrt(budget), 1)
    rows = short if short <= 2 * even else even
    pair = rows, min(max(budget // rows, 1), long)
    return _Shape(*pair) if sides[0] <= sides[1] else _Shape(*pair[::-1])


def _projection(rows: int, side: int, seed: int, checkpoint: int, weight: str, which: int) -> Tensor | None:
    if rows == side:
        return None
    return signs((rows, side), stream(seed, checkpoint, weight, which)) / math.sqrt(rows)


def _project_inputs(a: Tensor, right: Tensor | None, bias: bool) -> Tensor:
    if right is None:
        return torch.cat([a, torch.ones_like(a[..., :1])], dim=-1) if bias else a
    return functional.linear(a, right[:, :-1], right[:, -1]) if bias else a @ right.T


def _project_patches(tap: Tap, pair: Factors, right: Tensor | None) -> Tensor:
    """Project the unfolded input; that is itself a convolution, with the projection as its filters."""
    if right is None:
        right = torch.eye(_sides(tap)[1], device=pair.inputs.device, dtype=pair.inputs.dtype)
    filters = right[:, :-1] if tap.bias is not None else right
    shift = right[:, -1].contiguous() if tap.bias is not None else None
    filters = filters.reshape(len(right), *tap.shape[1:])
    return functional.conv2d(pair.inputs, filters, shift, tap.stride, tap.padding, tap.dilation)


def _grouped(tap: Tap, pair: Factors, left: Tensor | None, right: Tensor | None) -> Tensor:
    """The gradient of a grouped convolution is small (depthwise: a few numbers a channel); it is formed."""
    n, inner = len(pair.inputs), math.prod(tap.shape[1:])
    patches = functional.unfold(pair.inputs, tap.shape[2:], tap.dilation, tap.padding, tap.stride)
    patches = patches.reshape(n, tap.groups, inner, -1)
    g = pair.gradients.reshape(n, tap.groups, tap.shape[0] // tap.groups, -1)
    formed = (g @ patches.transpose(2, 3)).reshape(n, tap.shape[0], inner)
    if tap.bias is not None:
        formed = torch.cat([formed, pair.gradients.flatten(2).sum(dim=2)[:, :, None]], dim=2)
    formed = formed if left is None else left @ formed
    return formed if right is None else formed @ right.T
