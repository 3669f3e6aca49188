"""How much of a ranking is noise: the top lists that two disjoint halves of the evidence share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from app.numerics.attribution.quantised import QuantisedRows
from app.numerics.attribution.ridge import Spectrum
from app.numerics.attribution.trak import Checkpoint

LEVEL = 0.99
"""Share of all pairs of noise rankings that share no more rows than `Chance.most`."""
_DRAWS, _AT_ONCE = 1000, 50


class Chance(NamedTuple):
    """What two lists share that are noise: on average, and at most in `LEVEL` of all cases."""

    mean: float
    most: int


def checkpoint_halves(checkpoints: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """Every second checkpoint, and the others; of a single one, every second feature and the others.

    Raises:
        ValueError: no checkpoints, or a single one with a single feature.
    """
    if len(checkpoints) > 1:
        return list(checkpoints[::2]), list(checkpoints[1::2])
    if not checkpoints or checkpoints[0].train.codes.shape[1] < 2:
        raise ValueError("There is nothing to halve.")
    first, second = (_every_second(checkpoints[0], side) for side in (0, 1))
    return [first], [second]


def _every_second(point: Checkpoint, side: int) -> Checkpoint:
    columns = slice(side, None, 2)
    train = QuantisedRows(point.train.codes[:, columns], point.train.scales)
    return Checkpoint(train, half_spectrum(point.spectrum, side), point.targets[..., columns], point.doubt)


def half_spectrum(spectrum: Spectrum, side: int) -> Spectrum:
    """The decomposition for every second feature from `side` (0 or 1) on, without a look at the rows."""
    part = spectrum.vectors[side::2].double()
    values, vectors = torch.linalg.eigh((part * spectrum.values) @ part.T)
    return Spectrum(values.flip(0).clamp(min=0), vectors.flip(1))


def shared_tops(first: Tensor, second: Tensor, count: int) -> Tensor:
    """Rows that stand among the `count` highest, and among the `count` lowest, by both scores.

    Args:
        first, second: float [N, m], scores of the same pairs.
        count: at most N.

    Returns:
        int64 [m, 2]: shared among the highest, shared among the lowest.
    """
    a, b = first.T.contiguous(), second.T.contiguous()
    return torch.stack([_shared(a, b, count, largest=largest) for largest in (True, False)], dim=1)


def _shared(a: Tensor, b: Tensor, count: int, *, largest: bool) -> Tensor:
    tops = [scores.topk(count, dim=1, largest=largest).indices.sort(dim=1).values for scores in (a, b)]
    place = torch.searchsorted(tops[0], tops[1]).clamp(max=count - 1)
    found: Tensor = (tops[0].gather(1, place) == tops[1]).sum(dim=1)
    return found


def chance_shared(scale: Tensor, count: int, generator: torch.Generator) -> Chance:
    """Rows that the top lists of two rankings share where both are noise.

    A row with large scores under one ranking has large scores under the other as well, noise or not: so row i of the
    null rankings is `scale[i]` times a standard normal number, drawn anew for each ranking.

    Args:
        scale: float [N], root mean square of each row's scores over targets.
        count: length of the lists, at most N.
        generator: source of the draws.
    """
    found = []
    for _ in range(_DRAWS // _AT_ONCE):
        a, b = (scale * torch.randn(_AT_ONCE, len(scale), generator=generator) for _ in range(2))
        found.append(_shared(a, b, count, largest=True))
    shared = torch.cat(found).double()
    return Chance(float(shared.mean()), int(shared.quantile(LEVEL, interpolation="higher")))
