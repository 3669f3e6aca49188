"""Slices planted in the user's own rows, so that one knows how well each method finds one there."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.audits.slices.rows import Bools, Ints, Rows
from app.numerics.planted import plant_slice

MOST_CLASSES = 12
FEWEST_ROWS = 60
PREVALENCE = 0.1
ERROR_RATE = 0.6
"""The protocol of the published comparisons: one row in ten, of which 60 % fail."""


class Planted(NamedTuple):
    """Rows with a slice planted in some classes; rows of other classes take no part."""

    rows: Rows
    truth: dict[int, Bools]
    """Class → which of its audited positions were planted."""


def plant(rows: Rows, seed: int) -> Planted:
    """Plant one slice in each of up to twelve classes that have enough rows on both sides.

    The classes' other outcomes are shuffled, so that no real slice competes. A row that is now wrong takes prediction
    and confidence of a really wrong row of its class, and a right one of a right row: the confidence baseline sees
    what it would see of real errors.
    """
    generator = np.random.default_rng([seed, 3])
    eligible = [(c, p) for c, p in rows.by_class() if min(rows.fit[p].sum(), (~rows.fit[p]).sum()) >= FEWEST_ROWS]
    predictions, confidence, p_true = rows.predictions.copy(), rows.confidence.copy(), rows.p_true.copy()
    kept, truth = np.zeros(len(rows.labels), bool), {}
    for i in generator.permutation(len(eligible))[:MOST_CLASSES]:
        index, positions = eligible[i]
        source = torch.Generator().manual_seed(int(generator.integers(2**31)))
        wrong = torch.from_numpy(~rows.correct[positions])
        planted = plant_slice(rows.features(positions).cpu(), wrong, source, PREVALENCE, ERROR_RATE)
        errors = planted.errors.numpy()
        donors = _donors(rows, index, positions, errors, generator)
        predictions[positions] = np.where(errors, _wrong_predictions(rows, index, donors), index)
        confidence[positions], p_true[positions] = rows.confidence[donors], rows.p_true[donors]
        kept[positions], truth[index] = True, planted.members.numpy()
    changed = replace(
        rows, predictions=predictions, confidence=confidence, p_true=p_true, audited=rows.audited & kept
    )  # fmt: skip
    return Planted(changed, truth)


def _donors(rows: Rows, index: int, positions: Ints, wrong: Bools, generator: np.random.Generator) -> Ints:
    """For every row a really wrong or right one to take outputs from: of its class, else of any, else itself."""
    donors = np.array(positions)
    audited = np.flatnonzero(rows.audited)
    for outcome in (True, False):
        needed = wrong == outcome
        own, all_rows = (p[rows.correct[p] != outcome] for p in (positions, audited))
        pool = own if len(own) else all_rows
        if len(pool):
            donors[needed] = generator.choice(pool, int(needed.sum()))
    return donors


def _wrong_predictions(rows: Rows, index: int, donors: Ints) -> NDArray[np.int64]:
    """What the donors were taken for; a donor that was right, or of this very class, gives the next class."""
    taken = rows.predictions[donors]
    return np.where(taken == index, (index + 1) % max(len(rows.classes), 2), taken)
