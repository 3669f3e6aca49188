"""Measures candidates on confirm rows: rates with intervals, exact tests, and what would be enough evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.audits.slices.rows import Ints, Rows
from app.audits.slices.schema import MistakenFor, Rate, SliceMetrics
from app.numerics.intervals import wilson_interval
from app.numerics.significance import benjamini_hochberg, slice_excess_p_value

EXEMPLARS = 24
_MORE_DATA = (2, 3, 5, 10, 20)


@dataclass(frozen=True)
class Candidate:
    """A slice that a method proposes; its membership depends on embeddings and labels, never on confirm outcomes."""

    key: str
    method: str
    class_index: int
    positions: Ints
    """All audited rows of the class, ascending."""
    scores: NDArray[np.float32]
    """One per position, large = in the slice."""
    member: NDArray[np.bool_]
    """One per position."""
    direction: Tensor | None = None
    """float32 [d] in the space of `Rows.features`, pointing into the slice."""
    note: str = ""

    @property
    def members(self) -> Ints:
        """Positions in the slice, ascending."""
        return self.positions[self.member]


def rate(k: int, n: int) -> Rate:
    """Return k of n with its 95 % Wilson interval; of nothing, the whole unit interval."""
    low, high = wilson_interval(k, n)
    return Rate(k=int(k), n=int(n), value=k / n if n else 0.0, low=float(low), high=float(high))


def measure(rows: Rows, candidates: Sequence[Candidate], fdr: float, min_errors: int) -> list[SliceMetrics]:
    """Return the metrics of all candidates of a run; their tests are adjusted together."""
    counts = np.array([_counts(rows, c) for c in candidates], dtype=np.int64).reshape(-1, 4)
    p = slice_excess_p_value(counts[:, 0], counts[:, 1], counts[:, 2], counts[:, 3])
    q = benjamini_hochberg(p)
    return [
        _metrics(rows, candidate, counts[i], float(p[i]), float(q[i]), (fdr, min_errors, len(candidates)))
        for i, candidate in enumerate(candidates)
    ]


def confirmed(metrics: SliceMetrics, fdr: float, min_errors: int) -> bool:
    """Whether the confirm rows support the slice."""
    return metrics.q_value <= fdr and metrics.errors.k >= min_errors


def _counts(rows: Rows, candidate: Candidate) -> tuple[int, int, int, int]:
    """Return (errors in the slice, n of the slice, errors of the class, n of the class) on confirm rows."""
    confirm = ~rows.fit[candidate.positions]
    wrong = ~rows.correct[candidate.positions]
    inside = candidate.member & confirm
    return int((wrong & inside).sum()), int(inside.sum()), int((wrong & confirm).sum()), int(confirm.sum())


def _metrics(
    rows: Rows, candidate: Candidate, counts: NDArray[np.int64], p: float, q: float, bar: tuple[float, int, int]
) -> SliceMetrics:
    errors, n, class_errors, class_n = (int(value) for value in counts)
    confirm = ~rows.fit[candidate.positions]
    inside = candidate.positions[candidate.member & confirm]
    metrics = SliceMetrics(
        errors=rate(errors, n),
        rest=rate(class_errors - errors, class_n - n),
        class_errors=rate(class_errors, class_n),
        p_value=p,
        q_value=q,
        prevalence=n / class_n if class_n else 0.0,
        size=int(candidate.member.sum()),
        mistaken_for=_mistaken_for(rows, inside),
        hard_rows=_ranked(candidate, candidate.member & confirm, hardest=True),
        easy_rows=_ranked(candidate, ~candidate.member & confirm, hardest=False),
    )
    if not confirmed(metrics, bar[0], bar[1]):
        metrics.missing = _missing(metrics, *bar)
    return metrics


def _mistaken_for(rows: Rows, inside: Ints) -> list[MistakenFor]:
    wrong = inside[~rows.correct[inside]]
    found, counts = np.unique(rows.predictions[wrong], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:5]
    return [MistakenFor(class_index=int(found[i]), name=rows.classes[found[i]], n=int(counts[i])) for i in order]


def _ranked(candidate: Candidate, chosen: NDArray[np.bool_], *, hardest: bool) -> list[int]:
    scores = candidate.scores[chosen]
    order = np.argsort(-scores if hardest else scores, kind="stable")[:EXEMPLARS]
    return [int(position) for position in candidate.positions[chosen][order]]


def _missing(metrics: SliceMetrics, fdr: float, min_errors: int, tests: int) -> str:
    """Say what would be enough evidence, if the measured rates hold."""
    inside, whole = metrics.errors, metrics.class_errors
    if inside.n == 0:
        return "No confirm row falls into it."
    if inside.value <= metrics.rest.value:
        return "On confirm rows it fails no more often than the rest of its class."
    for factor in _MORE_DATA:
        scaled = [factor * value for value in (inside.k, inside.n, whole.k, whole.n)]
        # Bonferroni over the run's candidates bounds any q-value from above, so this never promises too little data.
        if scaled[0] >= min_errors and float(slice_excess_p_value(*scaled)) * tests <= fdr:
            return f"If these rates hold, {factor} times as many labelled images of the class would be enough."
    return f"Even {_MORE_DATA[-1]} times as many images would not settle it at these rates."
