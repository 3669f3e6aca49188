"""Random sketches of per-example weight gradients, made from their factors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.attribution.factors import Factors, Kind, Tap
from app.numerics.attribution.randomness import buckets, signs
from app.numerics.streams import stream


class _Shape(NamedTuple):
    """Rows of the two projections of a weight's gradient [out, in]; equal to the side itself: no projection."""

    out: int
    inner: int


class _Sparse(NamedTuple):
    """A projection with one random sign in each column: number i of a formed gradient goes to `bucket[i]`."""

    bucket: Tensor
    sign: Tensor
    size: int


_Projection = Tensor | _Sparse | None


class GradientSketch:
    """Maps the factors of all taps to one feature row per example.

    The gradient G_l [out, in] of weight l becomes P_l G_l Q_lᵀ with random signs in P_l and Q_l; inner products of rows
    are unbiased estimates of the inner products of whole gradients. A weight that is used twice is sketched once,
    from the sum over its uses. A bias counts as a further input that is always one. A gradient that was formed is
    kept where it fits, else hashed into buckets with random signs.

    Args:
        taps: as `TappedNetwork.taps`.
        size: features wanted, k; fewer where the network has fewer weights.
        seed, checkpoint: key of the random signs, beside the weight's name.

    Source: Kronecker-structured projection as in Park et al. 2023 (TRAK) section 3, applied to the factors; the hashing
    is the count sketch of Charikar, Chen, Farach-Colton 2002.
    """

    def __init__(self, taps: Sequence[Tap], size: int, seed: int, checkpoint: int = 0) -> None:
        self._taps = tuple(taps)
        sides = {tap.weight: tap.sides for tap in taps}
        formed = {tap.weight for tap in taps if tap.kind == "formed"}
        self._shapes = dict(zip(sides, _shares(list(sides.values()), size), strict=True))
        starts, self.size = {}, 0
        for weight, shape in self._shapes.items():
            starts[weight] = self.size
            self.size += shape.out * shape.inner
        self._starts = starts
        self._sides: list[dict[str, _Projection]] = [
            {
                w: _projection(shape[which], sides[w][which], w in formed, (seed, checkpoint, w, which))
                for w, shape in self._shapes.items()
            }
            for which in (0, 1)
        ]

    def features(self, factors: Sequence[Factors]) -> Tensor:
        """Return float32 [n, k].

        Args:
            factors: as `TappedNetwork.factors` returns them.
        """
        n, device = len(factors[0].gradients), factors[0].gradients.device
        rows = torch.zeros(n, self.size, device=device)
        for tap, pair in zip(self._taps, factors, strict=True):
            start = self._starts[tap.weight]
            part = self._one(tap, pair).reshape(n, -1)
            rows[:, start : start + part.shape[1]] += part
        return rows

    def _one(self, tap: Tap, pair: Factors) -> Tensor:
        left, right = (self._on(which, tap.weight, pair.gradients.device) for which in (0, 1))
        if isinstance(right, _Sparse):
            return pair.gradients.new_zeros(len(pair.gradients), right.size).index_add_(
                1, right.bucket, pair.gradients * right.sign
            )
        assert not isinstance(left, _Sparse)
        return _KINDS[tap.kind](tap, pair, left, right)

    def _on(self, which: int, weight: str, device: torch.device) -> _Projection:
        """A projection on the device; it moves there once."""
        found = self._sides[which][weight]
        if isinstance(found, _Sparse) and found.bucket.device != device:
            found = _Sparse(found.bucket.to(device), found.sign.to(device), found.size)
        elif isinstance(found, Tensor) and found.device != device:
            found = found.to(device)
        self._sides[which][weight] = found
        return found


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


def _projection(rows: int, side: int, sparse: bool, key: tuple[int, int, str, int]) -> _Projection:
    if rows == side:
        return None
    source = stream(*key)
    if sparse:
        return _Sparse(buckets(side, rows, source), signs((side,), source), rows)
    return signs((rows, side), source) / math.sqrt(rows)


def _formed(_: Tap, pair: Factors, left: Tensor | None, right: Tensor | None) -> Tensor:
    assert left is None
    assert right is None
    return pair.gradients


def _linear(tap: Tap, pair: Factors, left: Tensor | None, right: Tensor | None) -> Tensor:
    a = _project_inputs(pair.inputs, right, tap.bias is not None)
    g = pair.gradients if left is None else pair.gradients @ left.T
    return g.transpose(1, 2) @ a


def _embedding(tap: Tap, pair: Factors, left: Tensor | None, right: Tensor | None) -> Tensor:
    """The input is a one at the token's place, so projecting it is looking a column up."""
    if left is None:
        left = torch.eye(tap.shape[0], device=pair.gradients.device)
    g = pair.gradients if right is None else pair.gradients @ right.T
    return left.T[pair.inputs].transpose(1, 2) @ g


def _convolution(tap: Tap, pair: Factors, left: Tensor | None, right: Tensor | None) -> Tensor:
    if tap.groups > 1:
        formed = grouped_gradient(tap, pair)
        formed = formed if left is None else left @ formed
        return formed if right is None else formed @ right.T
    a = _project_patches(tap, pair, right)
    g = pair.gradients if left is None else torch.einsum("oc,nchw->nohw", left, pair.gradients)
    return g.flatten(2) @ a.flatten(2).transpose(1, 2)


_KINDS: dict[Kind, Callable[[Tap, Factors, Tensor | None, Tensor | None], Tensor]] = {
    "formed": _formed,
    "linear": _linear,
    "embedding": _embedding,
    "convolution": _convolution,
}


def _project_inputs(a: Tensor, right: Tensor | None, bias: bool) -> Tensor:
    if right is None:
        return torch.cat([a, torch.ones_like(a[..., :1])], dim=-1) if bias else a
    return functional.linear(a, right[:, :-1], right[:, -1]) if bias else a @ right.T


def _project_patches(tap: Tap, pair: Factors, right: Tensor | None) -> Tensor:
    """Project the unfolded input; that is itself a convolution, with the projection as its filters."""
    if right is None:
        right = torch.eye(tap.sides[1], device=pair.inputs.device, dtype=pair.inputs.dtype)
    filters = right[:, :-1] if tap.bias is not None else right
    shift = right[:, -1].contiguous() if tap.bias is not None else None
    filters = filters.reshape(len(right), *tap.shape[1:])
    return functional.conv2d(pair.inputs, filters, shift, tap.stride, tap.padding, tap.dilation)


def grouped_gradient(tap: Tap, pair: Factors) -> Tensor:
    """The gradient of a grouped convolution, [n, out, in / groups · height · width (+ 1)], the bias last.

    It is small (depthwise: a few numbers a channel), so it is formed: one product for each place in the filter, of the
    gradient and the input moved there.
    """
    n, (height, width) = len(pair.inputs), pair.gradients.shape[2:]
    padded = functional.pad(pair.inputs, (tap.padding[1], tap.padding[1], tap.padding[0], tap.padding[0]))
    g = pair.gradients.reshape(n * tap.groups, tap.shape[0] // tap.groups, -1)
    places = []
    for y, x in itertools.product(range(tap.shape[2]), range(tap.shape[3])):
        down, across = y * tap.dilation[0], x * tap.dilation[1]
        moved = padded[
            *(slice(None), slice(None), slice(down, down + tap.stride[0] * (height - 1) + 1, tap.stride[0])),
            slice(across, across + tap.stride[1] * (width - 1) + 1, tap.stride[1]),
        ]
        places.append(g @ moved.reshape(n * tap.groups, tap.shape[1], -1).transpose(1, 2))
    formed = torch.stack(places, dim=-1).reshape(n, tap.shape[0], -1)
    if tap.bias is None:
        return formed
    return torch.cat([formed, pair.gradients.flatten(2).sum(dim=2)[:, :, None]], dim=2)
