"""What is found out of one image: its radius from a fixed number of copies, or answers at some radii from few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.numerics.smoothing.copies import NO_CLASS, Task, Votes, Wanted
from app.numerics.smoothing.evidence import RadiusTest
from app.numerics.smoothing.radius import certified_radius

SELECT, ESTIMATE = "select", "estimate"


@dataclass(frozen=True)
class Certificate:
    """What a fixed number of copies says."""

    taken: int
    """The class that most of the first copies were taken for; the smaller index where several were."""
    radius: float
    """NaN where it abstains."""
    hits: int
    used: int
    """Copies that the network was shown, those that chose the class included."""
    first: Votes
    """What the copies that chose the class were taken for."""


@dataclass(frozen=True)
class Answer:
    """What a test at some radii says."""

    taken: int
    decided: NDArray[np.int8]
    """int8 [radii]: see `evidence`."""
    hits: int
    used: int
    first: Votes


def certify(sigma: float, alpha: float, n0: int, n: int) -> Task[Certificate]:
    """CERTIFY: `n0` copies choose the class, `n` others estimate its share.

    Stops early where even hits alone could not lift the bound above one half any more; that decides no image otherwise.

    Source: Cohen, Rosenfeld, Kolter 2019, section 3.2.2.
    """
    first = yield Wanted(SELECT, n0)
    taken, hits, done = most_frequent(first), 0, 0
    while done < n and not np.isnan(certified_radius(hits + n - done, n, alpha, sigma)):
        votes = yield Wanted(ESTIMATE, min(max(n // 10, 100), n - done))
        hits, done = hits + _hits(votes, taken), done + len(votes)
    radius = float(certified_radius(hits, n, alpha, sigma)) if done == n else np.nan
    return Certificate(taken, radius, hits, n0 + done, first)


def ask(sigma: float, radii: Sequence[float], alpha: float, n0: int, most: int) -> Task[Answer]:
    """Is the class certified at each of `radii` (rising)? As few copies as an anytime-valid test needs.

    The class is chosen on `n0` copies of its own, as in `certify`, and at most `most` others are drawn.
    """
    first = yield Wanted(SELECT, n0)
    taken, test = most_frequent(first), RadiusTest(radii, sigma, alpha, most)
    while wanted := test.wanted():
        votes = yield Wanted(ESTIMATE, wanted)
        test.tell(_hits(votes, taken), len(votes))
    return Answer(taken, test.decided, test.hits, n0 + test.n, first)


def most_frequent(votes: Votes) -> int:
    """The class with most votes, the smaller index where several have as many; `NO_CLASS` where there is none."""
    known = votes[votes >= 0]
    return int(np.bincount(known).argmax()) if len(known) else NO_CLASS


def _hits(votes: Votes, taken: int) -> int:
    return int((votes == taken).sum()) if taken != NO_CLASS else 0
