"""Which rows retrained networks see, and what they gave: the contract of `RetrainStageSpec`. Imports no torch.

The stage that plans leaves the details `masks` uint8 [M, ⌈N / 8⌉] (`np.packbits`, a bit for each row of the training
split), `seeds` int64 [M] and `targets` int64 [m] (places in the audited split). The retraining leaves `models` int64
[M'] (which of them are there; the others crashed again and again), `margins` float32 [M', m] and `right` bool [M', m]
on the targets, and `own` float32 [M', N], the margins of the training rows. A plan may also leave `noise` float64 [M],
the noise that each network is trained with in place of the recipe's. Where the stage names a function to `measure`, the
child calls it on each trained network, whose weights nobody keeps, and the retraining leaves `measured.<name>`
[M', m, …] besides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result

_MODEL_SEEDS = 2**31


MEASURED = "measured."


@dataclass(frozen=True)
class TrainedNetwork:
    """What a function that measures trained networks gets, in the sandboxed child."""

    forward: Callable[[Any], Any]
    """torch float32 [b, channels, height, width] in [0, 1], before normalisation → logits float32 [b, C]."""
    images: Any
    """torch float32 [m, channels, height, width] in [0, 1]: the targets, on the network's device."""
    labels: NDArray[np.int64]
    """int64 [m], in the model's numbering; −1 where unknown or not readable."""
    rows: NDArray[np.int64]
    """int64 [m], data set rows."""
    noise: float
    """Standard deviation of the noise that it was trained with."""
    params: Mapping[str, Any]
    seed: int
    """Of the run."""
    progress: Callable[[float], None]


class RetrainPlan(NamedTuple):
    """Networks to train: `masks` bool [M, N], `seeds` int64 [M], `targets` int64 [m], `noise` float64 [M] or none."""

    masks: NDArray[np.bool_]
    seeds: NDArray[np.int64]
    targets: NDArray[np.int64]
    noise: NDArray[np.float64] | None = None

    def result(self) -> Result:
        """This plan as a stage leaves it."""
        packed = np.packbits(self.masks, axis=1)
        noise = {} if self.noise is None else {"noise": self.noise}
        return Result(summary={}, details={"masks": packed, "seeds": self.seeds, "targets": self.targets, **noise})


class Retrained(NamedTuple):
    """What came of a plan, for the networks that are there; arrays as in the module's description."""

    masks: NDArray[np.bool_]
    targets: NDArray[np.int64]
    models: NDArray[np.int64]
    margins: NDArray[np.float32]
    right: NDArray[np.bool_]
    own: NDArray[np.float32]


class StoredPlan:
    """A plan as its stage left it, for a training split of `rows` rows; masks are unpacked for some networks only.

    `measures`: what else is asked of each network, in JSON; empty where nothing is.
    """

    def __init__(self, folder: Path, rows: int, measures: Mapping[str, Any] | None = None) -> None:
        self._packed = np.load(folder / "masks.npy", mmap_mode="r")
        self._seeds, self._rows = np.load(folder / "seeds.npy"), rows
        self.targets: NDArray[np.int64] = np.load(folder / "targets.npy")
        self._noise = np.load(folder / "noise.npy") if (folder / "noise.npy").exists() else None
        self.measures = dict(measures or {})

    def __len__(self) -> int:
        return len(self._seeds)

    def part(self, start: int, stop: int) -> RetrainPlan:
        """The networks [start, stop)."""
        packed = self._packed[start:stop]
        masks = np.unpackbits(packed, axis=1, count=self._rows).astype(bool)
        noise = None if self._noise is None else self._noise[start:stop]
        return RetrainPlan(masks, self._seeds[start:stop], self.targets, noise)

    def fingerprint(self, start: int, stop: int) -> str:
        """SHA-256 of what the networks [start, stop) see, with what noise, their seeds, and what they are asked."""
        digest = hashlib.sha256()
        noise = [] if self._noise is None else [self._noise[start:stop]]
        for part in (self._packed[start:stop], self._seeds[start:stop], self.targets, *noise):
            digest.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
        if self.measures:
            digest.update(json.dumps(self.measures, sort_keys=True).encode())
        return digest.hexdigest()


def read_plan(folder: Path, rows: int) -> RetrainPlan:
    """Read a whole plan for a training split of `rows` rows."""
    stored = StoredPlan(folder, rows)
    return stored.part(0, len(stored))


def read_retrained(inputs: Inputs, plan: str, stage: str) -> Retrained | None:
    """Return what the retraining stage of that name left; none where nothing was retrained."""
    if stage not in inputs.earlier or inputs.train is None:
        return None
    planned = read_plan(inputs.earlier[plan], len(inputs.train.manifest))
    folder = inputs.earlier[stage]
    models, margins, right, own = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("models", "margins", "right", "own")
    )
    return Retrained(planned.masks[models], planned.targets, models, margins, right, own) if len(models) else None


def random_subsets(
    labels: NDArray[np.int32], count: int, share: float, seed: int, *, repeats: int = 1
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Random subsets of the labelled rows, each for `repeats` networks in a row.

    Subset i and its seeds depend on `seed` and i alone, so that a longer plan begins as a shorter one.

    Returns:
        bool [count · repeats, N] with round(share · labelled) rows each, int64 [count · repeats].
    """
    known = np.flatnonzero(labels >= 0)
    masks, seeds = np.zeros((count * repeats, len(labels)), bool), np.zeros(count * repeats, np.int64)
    for i in range(count):
        generator = np.random.default_rng([seed, i])
        chosen = generator.permutation(known)[: round(share * len(known))]
        masks[i * repeats : (i + 1) * repeats, chosen] = True
        seeds[i * repeats : (i + 1) * repeats] = generator.integers(_MODEL_SEEDS, size=repeats)
    return masks, seeds


def sample_targets(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """At most `most` of `count` places, sorted, drawn by `seed`."""
    chosen = np.random.default_rng([seed, 0x7A67]).permutation(count)[:most]
    return np.sort(chosen).astype(np.int64)


def by_subset(found: Retrained, repeats: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Subsets of which every network is there, bool [S, N], and their margins float32 [repeats, S, m]."""
    _, first = whole_subsets(found.models, repeats)
    return found.masks[first], margins_by_subset(found.margins, first, repeats)


def whole_subsets(models: NDArray[np.int64], repeats: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers int64 [S] of the subsets of which every network is there, and the place of each one's first network."""
    subsets, first, counts = np.unique(models // repeats, return_index=True, return_counts=True)
    return subsets[counts == repeats], first[counts == repeats]


def margins_by_subset(margins: NDArray[np.float32], first: NDArray[np.int64], repeats: int) -> NDArray[np.float32]:
    """Margins float32 [repeats, S, m] of the subsets whose first networks stand at the places `first`."""
    return np.stack([np.array(margins[first + r]) for r in range(repeats)])
