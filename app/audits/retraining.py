"""Which rows retrained networks see, and what they gave: the contract of `RetrainStageSpec`. Imports no torch.

The stage that plans leaves the details `masks` uint8 [M, ⌈N / 8⌉] (`np.packbits`, a bit for each row of the training
split), `seeds` int64 [M] and `targets` int64 [m] (places in the audited split). The retraining leaves `models` int64
[M'] (which of them are there; the others crashed again and again), `margins` float32 [M', m] and `right` bool [M', m]
on the targets, and `own` float32 [M', N], the margins of the training rows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.audits.base import Inputs, Result

_MODEL_SEEDS = 2**31


class RetrainPlan(NamedTuple):
    """Networks to train: `masks` bool [M, N], `seeds` int64 [M], `targets` int64 [m]."""

    masks: NDArray[np.bool_]
    seeds: NDArray[np.int64]
    targets: NDArray[np.int64]

    def result(self) -> Result:
        """This plan as a stage leaves it."""
        packed = np.packbits(self.masks, axis=1)
        return Result(summary={}, details={"masks": packed, "seeds": self.seeds, "targets": self.targets})


class Retrained(NamedTuple):
    """What came of a plan, for the networks that are there; arrays as in the module's description."""

    masks: NDArray[np.bool_]
    targets: NDArray[np.int64]
    models: NDArray[np.int64]
    margins: NDArray[np.float32]
    right: NDArray[np.bool_]
    own: NDArray[np.float32]


class StoredPlan:
    """A plan as its stage left it, for a training split of `rows` rows; masks are unpacked for some networks only."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._packed = np.load(folder / "masks.npy", mmap_mode="r")
        self._seeds, self._rows = np.load(folder / "seeds.npy"), rows
        self.targets: NDArray[np.int64] = np.load(folder / "targets.npy")

    def __len__(self) -> int:
        return len(self._seeds)

    def part(self, start: int, stop: int) -> RetrainPlan:
        """The networks [start, stop)."""
        packed = self._packed[start:stop]
        masks = np.unpackbits(packed, axis=1, count=self._rows).astype(bool)
        return RetrainPlan(masks, self._seeds[start:stop], self.targets)

    def fingerprint(self, start: int, stop: int) -> str:
        """SHA-256 of what the networks [start, stop) see, their seeds, and what they are asked."""
        digest = hashlib.sha256()
        for part in (self._packed[start:stop], self._seeds[start:stop], self.targets):
            digest.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
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
