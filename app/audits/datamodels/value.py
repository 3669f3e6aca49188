"""Stage `value`: Data Shapley of the training images, for a logistic last layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.audits.base import Inputs, Result, Split
from app.audits.datamodels.schema import Params, Values
from app.numerics.attribution.data_shapley import ShapleyEstimate, data_shapley
from app.numerics.logistic import fit_logistic

MOST_ROWS = 1000
MOST_JUDGES = 500
DIRECTIONS = 32
"""Principal directions of the penultimate layer that the logistic layer reads."""
PENALTY = 1.0
TOLERANCE = 0.01
"""An order is cut off when the accuracy is this close to that of all images."""


class Game(NamedTuple):
    """Features float64 with a constant column, and labels, of training images and of the images that judge them."""

    x: NDArray[np.float64]
    y: NDArray[np.int64]
    judges: NDArray[np.float64]
    truth: NDArray[np.int64]
    classes: int

    def accuracy(self, chosen: NDArray[np.int64]) -> float:
        """Of a logistic layer trained on these images; chance for none."""
        if not len(chosen):
            return 1 / self.classes
        weights = fit_logistic(self.x[chosen], self.y[chosen], self.classes, PENALTY)
        return float(((self.judges @ weights).argmax(axis=1) == self.truth).mean())


def value(inputs: Inputs) -> Result:
    """Value each labelled training image by truncated Monte Carlo (Ghorbani, Zou 2019).

    Table `values`: `row`, `label`, `value` (share of the accuracy that the image adds) and its standard `error`.
    """
    params: Params = inputs.params
    if not params.shapley or inputs.train is None:
        return Result(summary={})
    known = np.flatnonzero(inputs.train.manifest["label"].to_numpy() >= 0)
    if reason := _why_not(inputs, known):
        return Result(summary={"no_values": reason})
    game, calls = game_of(inputs, known), [0]

    def utility(chosen: NDArray[np.int64]) -> float:
        calls[0] += 1
        inputs.progress(min(calls[0] / (params.shapley * len(known)), 1.0), f"Data Shapley, training {calls[0]:,}")
        return game.accuracy(chosen)

    generator = np.random.default_rng([inputs.seed, 0x5A])
    found = data_shapley(utility, len(known), generator, permutations=params.shapley, tolerance=TOLERANCE)
    summary = {"values": _summary(game, found).model_dump(mode="json")}
    manifest = inputs.train.manifest.take(known)
    columns = {"row": manifest["row"], "label": manifest["label"], "value": found.values, "error": found.errors}
    return Result(summary=summary, tables={"values": pa.table(columns)})


def game_of(inputs: Inputs, known: NDArray[np.int64]) -> Game:
    """The training images `known` and a sample of the audited ones, in the training images' principal directions."""
    assert inputs.train is not None
    labels = inputs.audited.manifest["label"].to_numpy()
    judges = np.random.default_rng([inputs.seed, 0x1D6E]).permutation(np.flatnonzero(labels >= 0))[:MOST_JUDGES]
    train, other = _features(inputs.train)[known], _features(inputs.audited)[np.sort(judges)]
    mean = train.mean(axis=0)
    _, sizes, directions = np.linalg.svd(train - mean, full_matrices=False)
    basis = directions[: min(DIRECTIONS, int((sizes > 1e-9 * max(sizes[0], 1e-300)).sum()))].T
    spread = max(float(((train - mean) @ basis)[:, :1].std()), 1e-12) if basis.size else 1.0
    x, z = (
        np.concatenate([(rows - mean) @ basis / spread, np.ones((len(rows), 1))], axis=1) for rows in (train, other)
    )
    y = inputs.train.manifest["label"].to_numpy()[known].astype(np.int64)
    return Game(x, y, z, labels[np.sort(judges)].astype(np.int64), len(inputs.classes))


def _features(split: Split) -> NDArray[np.float64]:
    assert split.features is not None
    return np.array(split.features, np.float64)


def _why_not(inputs: Inputs, known: NDArray[np.int64]) -> str:
    assert inputs.train is not None
    if inputs.train.features is None or inputs.audited.features is None:
        return "This model hides its penultimate layer, so there is no last layer to train."
    if not (inputs.audited.manifest["label"].to_numpy() >= 0).any():
        return "No audited image has a label to judge by."
    if not 2 <= len(known) <= MOST_ROWS:
        return f"Data Shapley is computed for 2 to {MOST_ROWS:,} labelled training images; there are {len(known):,}."
    return ""


def _summary(game: Game, found: ShapleyEstimate) -> Values:
    return Values(
        rows=len(found.values),
        orders=found.permutations,
        accuracy=game.accuracy(np.arange(len(found.values))),
        chance=1 / game.classes,
        negative=int((found.values + 2 * found.errors < 0).sum()),
    )
