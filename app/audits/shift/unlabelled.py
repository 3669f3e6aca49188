"""Accuracy on the second set without its labels, and how that estimate does where the truth is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from app.audits.shift.schema import Tested, Unlabelled
from app.audits.shift.sets import Ints, Side, estimate
from app.audits.splits import meta_names
from app.numerics.shift.accuracy import atc, back_test, difference_of_confidences
from app.numerics.streams import stream

TENTHS = 10
MOST_VALUES = 50
MOST_COLUMNS = 5
FEWEST = 20
"""Rows of each set below which nothing is estimated."""


def unlabelled(first: Side, second: Side, seed: int, resamples: int) -> tuple[Unlabelled | None, str]:
    """Return the estimate, or the sentence that says why there is none."""
    one, other = first.judged, second.used
    if min(one.sum(), other.sum()) < FEWEST:
        return None, f"An estimate without labels needs {FEWEST} images in each set."
    right = first.right[one]
    found = atc(first.sureness[one], right, second.sureness[other], seed=seed, resamples=resamples)
    beside = difference_of_confidences(
        first.confidence[one], right, second.confidence[other], seed=seed, resamples=resamples
    )
    error = None
    if (known := second.judged).any():
        error = found.estimate.value - float(second.right[known].mean())
    tests = [test for name, groups in _groupings(first, seed) if (test := _tested(first, name, groups))]
    return Unlabelled(
        estimate=estimate(found.estimate), by_confidence=estimate(beside.estimate), error=error, tests=tests
    ), ""


def _groupings(first: Side, seed: int) -> Iterator[tuple[str, Ints]]:
    """Ways to cut the audited images into parts: at random, by class, by the users' own columns."""
    rows, known = np.flatnonzero(first.judged), first.judged
    dealt = np.random.Generator(stream(seed, "tenths")).permutation(len(rows)) % TENTHS
    yield "random tenths", dealt.astype(np.int64)
    yield "classes", first.labels[known]
    for name in meta_names(first.split.manifest)[:MOST_COLUMNS]:
        values, groups = np.unique(first.column(name)[known], return_inverse=True)
        if 1 < len(values) <= MOST_VALUES:
            yield f"values of “{name.replace('_', ' ')}”", groups.astype(np.int64)


def _tested(first: Side, name: str, groups: Ints) -> Tested | None:
    known = first.judged
    found = back_test(first.sureness[known], first.right[known], groups)
    if not found.parts:
        return None
    return Tested(
        name=name,
        parts=len(found.parts),
        error=found.mean_absolute_error,
        worst=found.worst,
        by_chance=found.by_chance,
        plain=found.plain_error,
    )
