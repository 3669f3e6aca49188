"""One weight and every place where it acts, as the curvature of a network needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from app.numerics.attribution.factors import Factors, Tap
from app.numerics.attribution.sketch import grouped_gradient

BOUND = 2**24
"""Numbers (64 MiB) that an array of per-example gradients may hold, unless a single example has more."""


class Weight(NamedTuple):
    """A weight, its taps, and their places among the network's taps."""

    name: str
    taps: tuple[Tap, ...]
    places: tuple[int, ...]

    @property
    def factored(self) -> bool:
        """Whether an example's gradient is a sum of products g aᵀ over positions."""
        return all(tap.kind in ("linear", "convolution") and tap.groups == 1 for tap in self.taps)

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of an example's gradient, the bias as the last column."""
        return self.taps[0].sides

    def slices(self, *passes: Sequence[Factors]) -> Iterator[list[list[Factors]]]:
        """Its own factors from each backward pass over a batch, in slices of the batch.

        What is formed of a slice stays within `BOUND` numbers.
        """
        own = [[factors[place] for place in self.places] for factors in passes]
        size = max(BOUND // (len(passes) * self._numbers(own[0])), 1)
        for start in range(0, len(own[0][0].gradients), size):
            part = slice(start, start + size)
            yield [[Factors(pair.inputs[part], pair.gradients[part]) for pair in pairs] for pairs in own]

    def inputs(self, own: Sequence[Factors]) -> Tensor:
        """Inputs [n, T, in] (ones appended for a bias) at all positions."""
        return torch.cat([inputs_at(tap, pair.inputs) for tap, pair in zip(self.taps, own, strict=True)], dim=1)

    def gradients(self, own: Sequence[Factors]) -> Tensor:
        """Output gradients [n, T, out] at all positions."""
        return torch.cat([gradients_at(tap, pair.gradients) for tap, pair in zip(self.taps, own, strict=True)], dim=1)

    def formed(self, own: Sequence[Factors]) -> Tensor:
        """Per-example gradients [n, rows, columns]."""
        return torch.stack([formed(tap, pair) for tap, pair in zip(self.taps, own, strict=True)]).sum(dim=0)

    def _numbers(self, own: Sequence[Factors]) -> int:
        rows, columns = self.sides
        found = rows * columns
        for tap, pair in zip(self.taps, own, strict=True):
            found += _count(tap, pair) * sum(tap.sides)
        return found


def weights(taps: Sequence[Tap]) -> list[Weight]:
    """The weights that are tapped, each once, in the order of their first taps."""
    found: dict[str, list[int]] = {}
    for place, tap in enumerate(taps):
        found.setdefault(tap.weight, []).append(place)
    return [Weight(name, tuple(taps[p] for p in places), tuple(places)) for name, places in found.items()]


def inputs_at(tap: Tap, a: Tensor) -> Tensor:
    """Inputs [n, T, in] (ones appended for a bias) at each position of a factored tap."""
    if tap.kind == "convolution":
        a = functional.unfold(a, tap.shape[2:], tap.dilation, tap.padding, tap.stride).transpose(1, 2)
    return torch.cat([a, torch.ones_like(a[..., :1])], dim=-1) if tap.bias is not None else a


def gradients_at(tap: Tap, g: Tensor) -> Tensor:
    """Output gradients [n, T, out] at each position of a factored tap."""
    return g.flatten(2).transpose(1, 2) if tap.kind == "convolution" else g


def formed(tap: Tap, pair: Factors) -> Tensor:
    """Per-example gradients [n, rows, columns] of a tap, the bias as the last column."""
    if tap.kind == "formed":
        return pair.gradients[:, None, :]
    if tap.kind == "embedding":
        whole = pair.gradients.new_zeros(len(pair.inputs), *tap.shape)
        rows = torch.arange(len(pair.inputs), device=pair.inputs.device)[:, None]
        return whole.index_put_((rows, pair.inputs), pair.gradients, accumulate=True)
    if tap.groups > 1:
        return grouped_gradient(tap, pair)
    return gradients_at(tap, pair.gradients).transpose(1, 2) @ inputs_at(tap, pair.inputs)


def _count(tap: Tap, pair: Factors) -> int:
    """Positions at which a tap acts."""
    if tap.kind == "formed":
        return 0
    return pair.gradients[0, 0].numel() if tap.kind == "convolution" else pair.gradients.shape[1]
