"""Tests a shard's images against patches; runs in the sandboxed child."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.audits.drawn import drawn
from app.audits.patches.budgets import EFFORTS
from app.audits.patches.covering import two_masks
from app.audits.patches.pictures import picture_file
from app.audits.patches.plan import Outcome, Plan
from app.audits.patches.schema import GRID, METHODS, NOT_RUN, UNKNOWN, Params
from app.audits.patches.voting import Voting
from app.audits.pixels import PixelBatch, PixelShard
from app.audits.texts import lines
from app.numerics.attacks.masking import probabilities, random_outputs

Run = Callable[[Tensor, NDArray[np.int64], NDArray[np.bool_]], Outcome]


def measure(shard: PixelShard) -> dict[str, NDArray[Any]]:
    """Return what holds for each row that was tested; sizes as the parameters list them, methods by place in `METHODS`.

    `list.row` int64 [m]: data set rows; `list.clean` int32 [m]: predicted classes. `list.defended` int32 [m, 4, sizes]:
    the defended model's; `list.certified` int8: 1 where it is the label's and no patch turns it, 0 where not; both −1
    where a method did not run. `list.vote` float32 [m, 4]: share of the bands that vote for the label. `list.signs`
    int8 [m, 2]: whether the network gave other logits when asked again, and whether they look like probabilities.
    `list.map` int16 [k, 4, sizes, 12, 12] and `list.mapped` int64 [k]: of some rows, for a patch at each place, the
    votes to spare, or for two masks 0 where a safe mask covers it and −1 where none does. `list.picture` int64 [k],
    `list.pictures` uint8: lengths of their pictures, WebP, and these end to end. `list.asked` int64 [1, 5]: images
    tested, and images that the network was shown by each method. `list.size` int64 [1, 2]: height, width.
    `list.reason` uint8 [4, 400]: why a method did not run.
    """
    state = _State(shard)
    for batch in shard.pictures(state.places.tolist()):
        state.test(batch)
    shard.progress(1.0)
    return state.arrays()


_AT_ONCE = 16
"""Images between two words of progress: each may take hundreds of passes."""


class _State:
    """The arrays of a shard, filled batch by batch."""

    def __init__(self, shard: PixelShard) -> None:
        self.shard, self.params = shard, Params.model_validate(dict(shard.params))
        effort = EFFORTS[self.params.budget]
        chosen = drawn(shard.split, shard.seed, effort.rows)
        self.watched = chosen[: effort.mapped]
        places = np.sort(chosen[(chosen >= shard.start) & (chosen < shard.start + len(shard.labels))]) - shard.start
        self.places: NDArray[np.int64] = places[shard.labels[places] >= 0]
        self.runs: dict[int, Run] = {}
        self.reasons: list[str] = []
        self.size, self.asked = np.zeros((0, 2), np.int64), np.zeros((0, 1 + len(METHODS)), np.int64)
        self.parts = [self._part(np.zeros(0, np.int64), 0)]
        self.files: list[bytes] = []

    def test(self, batch: PixelBatch) -> None:
        """Run every method on a batch, a few images at a time."""
        if not self.reasons:
            self._start(batch.pictures)
        for start in range(0, len(batch.places), _AT_ONCE):
            self._some(batch.pictures[start : start + _AT_ONCE], batch.places[start : start + _AT_ONCE])

    def _some(self, pictures: Tensor, places: NDArray[np.int64]) -> None:
        rows, labels = places + self.shard.start, self.shard.labels[places]
        watched = np.isin(rows, self.watched)
        part = self._part(rows, int(watched.sum()))
        part["mapped"] = rows[watched]
        logits = self.shard.classify(pictures)
        part["clean"][:] = logits.argmax(1).numpy()
        part["signs"][:, 0] = random_outputs(self.shard.classify, pictures).cpu().numpy()
        part["signs"][:, 1] = probabilities(logits).cpu().numpy()
        self.asked[0, 0] += len(rows)
        for step, (place, run) in enumerate(self.runs.items(), 1):
            self._keep(part, place, run(pictures, labels, watched))
            done = sum(len(other["row"]) for other in self.parts) + len(rows) * step / len(self.runs)
            self.shard.progress(done / len(self.places))
        self.parts.append(part)
        self.files += [picture_file(pictures[i]) for i in np.flatnonzero(watched).tolist()]

    def _start(self, pictures: Tensor) -> None:
        plan = Plan.of(self.shard, self.params, pictures)
        self.size = np.array([[plan.height, plan.width]], np.int64)
        self.asked = np.zeros((1, 1 + len(METHODS)), np.int64)
        for place, method in enumerate(METHODS):
            voting = Voting(plan, method) if method != "two masks" else None
            why = "" if method not in self.params.methods or not voting else voting.why_not()
            self.reasons.append(why)
            if method in self.params.methods and not why:
                self.runs[place] = voting or partial(two_masks, plan)

    def _part(self, rows: NDArray[np.int64], watched: int) -> dict[str, NDArray[Any]]:
        sizes, methods = len(self.params.sizes), len(METHODS)
        return {
            "row": rows,
            "clean": np.zeros(len(rows), np.int32),
            "defended": np.full((len(rows), methods, sizes), NOT_RUN, np.int32),
            "certified": np.full((len(rows), methods, sizes), NOT_RUN, np.int8),
            "vote": np.full((len(rows), methods), np.nan, np.float32),
            "signs": np.zeros((len(rows), 2), np.int8),
            "map": np.full((watched, methods, sizes, GRID, GRID), UNKNOWN, np.int16),
            "mapped": np.zeros(watched, np.int64),
        }

    def _keep(self, part: dict[str, NDArray[Any]], place: int, outcome: Outcome) -> None:
        part["defended"][:, place], part["certified"][:, place] = outcome.defended, outcome.certified
        part["vote"][:, place], part["map"][:, place] = outcome.vote, outcome.maps
        self.asked[0, 1 + place] += outcome.asked

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, by name."""
        joined = {f"list.{name}": np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        return {
            **joined,
            "list.asked": self.asked,
            "list.size": self.size,
            "list.reason": lines(self.reasons),
            "list.picture": np.array([len(file) for file in self.files], np.int64),
            "list.pictures": np.frombuffer(b"".join(self.files), np.uint8).copy(),
        }
