"""Both sets as the stages of the kind see them: what the model says of every image, and which rows count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from app.audits.base import Inputs, Split
from app.audits.pieces import Estimate
from app.numerics.intervals import wilson_interval
from app.numerics.shift.accuracy import negative_entropy
from app.numerics.shift.estimates import Bounded
from app.numerics.shift.moved import Differences

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
NO_SECOND = "No second data set was named, so that there is nothing to compare with."
_BLOCK = 65_536


@dataclass(frozen=True)
class Side:
    """One set: an entry per row of its split."""

    split: Split
    labels: Ints
    """Model's numbering; −1 where there is none."""
    predictions: Ints
    confidence: Floats
    """Probability of the predicted class."""
    sureness: Floats
    """Negative entropy of the probabilities."""
    used: Bools
    """Rows with an output of their own."""

    @property
    def judged(self) -> Bools:
        """Rows with an output and a label."""
        return self.used & (self.labels >= 0)

    @property
    def right(self) -> Bools:
        """Whether the prediction is the label; means nothing where a row is not judged."""
        return np.asarray(self.predictions == self.labels)

    @property
    def labelled(self) -> bool:
        """Whether any row that counts has a label."""
        return bool(self.judged.any())

    def column(self, name: str) -> NDArray[np.str_]:
        """A column of the users' own as text, “–” where it is empty."""
        values: pa.ChunkedArray = self.split.manifest[f"meta.{name}"]
        return np.array(["–" if value is None else str(value) for value in values.to_pylist()], np.str_)


def sides(inputs: Inputs) -> tuple[Side, Side] | None:
    """Return the audited and the second set; None without a second one or without predictions."""
    second = inputs.second
    if second is None or inputs.audited.logits is None or second.logits is None:
        return None
    return _side(inputs.audited), _side(second)


def _side(split: Split) -> Side:
    assert split.logits is not None
    n = split.manifest.num_rows
    labels = split.manifest["label"].to_numpy().astype(np.int64)
    predictions, confidence, sureness = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
    used = np.ones(n, bool) if split.audited is None else np.array(split.audited, bool)
    for start in range(0, n, _BLOCK):
        part = slice(start, min(start + _BLOCK, n))
        logits = np.asarray(split.logits[part], np.float64)
        used[part] &= np.isfinite(logits).all(axis=1)
        probabilities = special.softmax(np.nan_to_num(logits), axis=1)
        predictions[part], confidence[part] = probabilities.argmax(1), probabilities.max(1)
        sureness[part] = negative_entropy(probabilities)
    return Side(split, labels, predictions, confidence, sureness, used)


def estimate(found: Bounded) -> Estimate:
    """A bounded value as pages show it."""
    low, high = (None if np.isnan(end) else float(end) for end in (found.low, found.high))
    return Estimate(value=float(found.value), low=low, high=high, n=found.n)


def share(k: int, n: int) -> Estimate:
    """k of n with Wilson's interval."""
    low, high = wilson_interval(k, n)
    return Estimate(value=k / max(n, 1), low=float(low), high=float(high), n=n)


def difference(found: Differences, place: int, n: int) -> tuple[Estimate, float | None, float | None]:
    """The difference at one place of a family, its p-value and its adjusted one."""
    if np.isnan(found.p_value[place]):
        return Estimate(value=0.0, n=0), None, None
    value, low, high = (float(array[place]) for array in (found.difference, found.low, found.high))
    return Estimate(value=value, low=low, high=high, n=n), float(found.p_value[place]), float(found.q_value[place])
