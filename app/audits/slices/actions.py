"""What analysts ask of a finished run: hypotheses, more like these, a slice of their own measured, neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch import Tensor

from app.audits.base import ActionResult, Inputs
from app.audits.slices.caption_bank import sentence_move
from app.audits.slices.measure import Candidate, measure, rate
from app.audits.slices.rows import Ints, Rows, load
from app.audits.slices.schema import (
    ClimbAnswer,
    ClimbPayload,
    HypothesisAnswer,
    HypothesisPayload,
    NeighboursAnswer,
    NeighboursPayload,
    OverlapWith,
    Rate,
    RemeasurePayload,
)
from app.audits.slices.similar import similarity
from app.numerics.ranking import marked_direction
from app.numerics.significance import slice_excess_p_value

SHOWN = 48
MOST_OVERLAPS = 5
MOST_TRAINED = 2_000


def hypothesis(inputs: Inputs, payload: HypothesisPayload) -> ActionResult:
    """Test a sentence or picked images: do the rows that match best fail more often than the others of the pool?

    Picked images were seen by the person who picked them, so they are left out of the counts.

    Raises:
        ValueError: neither a sentence nor rows, or the encoder reads no text.
    """
    rows = load(inputs, inputs.earlier["slices"])
    pool = _pool(rows, payload.class_index)
    picked = _known(rows, payload.rows)
    move = _sentence_move(inputs, rows, payload) if payload.sentence.strip() else _picked_move(rows, pool, picked)
    found = similarity(rows, inputs.earlier["slices"], pool, move)
    member = found.members(payload.share)
    tested = ~rows.fit[pool] & ~np.isin(pool, picked)
    inside, outside = pool[tested & member], pool[tested & ~member]
    p = _excess(rows, inside, outside)
    answer = HypothesisAnswer(
        inside=_rate(rows, inside),
        outside=_rate(rows, outside),
        p_value=p,
        rows=found.closest(SHOWN, tested & member)[0].tolist(),
        overlap=_overlaps(inputs, inside, len(rows.labels)),
        sentence=payload.sentence.strip(),
    )
    return ActionResult(answer.model_dump(mode="json"), p_value=p)


def climb(inputs: Inputs, payload: ClimbPayload) -> ActionResult:
    """Re-rank the rows by a ridge regression on the marks; without outside marks a sample of the pool stands in."""
    rows = load(inputs, inputs.earlier["slices"])
    pool = _pool(rows, payload.class_index)
    inside, outside = (_known(rows, marks) for marks in (payload.inside, payload.outside))
    unmarked = pool[~np.isin(pool, np.concatenate([inside, outside]))]
    if not len(outside):
        outside = np.random.default_rng(inputs.seed).permutation(unmarked)[:MOST_TRAINED]
    weights = marked_direction(rows.features(inside), rows.features(outside))
    closest, scores = similarity(rows, inputs.earlier["slices"], unmarked, weights).closest(payload.top)
    answer = ClimbAnswer(rows=closest.tolist(), scores=scores.tolist())
    return ActionResult(answer.model_dump(mode="json"))


def remeasure(inputs: Inputs, payload: RemeasurePayload) -> ActionResult:
    """Measure a slice that people made against the rest of its class (or of the split) on confirm rows."""
    rows = load(inputs, inputs.earlier["slices"])
    pool = _pool(rows, payload.class_index)
    member = np.isin(pool, np.array(payload.rows, dtype=np.int64))
    index = -1 if payload.class_index is None else payload.class_index
    scores = (1 - rows.p_true[pool]).astype(np.float32)
    params = inputs.params
    found = measure(rows, [Candidate("made", "people", index, pool, scores, member)], params.fdr, params.min_errors)[0]
    return ActionResult(found.model_dump(mode="json"), p_value=found.p_value)


def neighbours(inputs: Inputs, payload: NeighboursPayload) -> ActionResult:
    """Find the nearest of all audited images, or of one class, in the encoder's space."""
    rows = load(inputs, inputs.earlier["slices"])
    own = _known(rows, [payload.position])
    pool = _pool(rows, payload.class_index)
    pool = pool[pool != payload.position]
    found = similarity(rows, inputs.earlier["slices"], pool, rows.features(own)[0])
    closest, scores = found.closest(payload.top)
    answer = NeighboursAnswer(rows=closest.tolist(), scores=scores.tolist(), compared=len(pool))
    return ActionResult(answer.model_dump(mode="json"))


def _pool(rows: Rows, class_index: int | None) -> Ints:
    return np.flatnonzero(rows.audited) if class_index is None else rows.of_class(class_index)


def _known(rows: Rows, positions: Sequence[int]) -> Ints:
    """Return positions that people named.

    Raises:
        ValueError: one lies outside of the split.
    """
    named = np.array(positions, dtype=np.int64)
    outside = named[(named < 0) | (named >= len(rows.labels))]
    if len(outside):
        raise ValueError(f"There is no image {outside[0]:,}: the split has {len(rows.labels):,}, counted from 0.")
    return named


def _sentence_move(inputs: Inputs, rows: Rows, payload: HypothesisPayload) -> Tensor:
    if inputs.encode_text is None:
        raise ValueError("This run's encoder reads no text. Pick images instead of writing a sentence.")
    return sentence_move(rows, inputs.params, inputs.encode_text, payload.sentence.strip(), payload.class_index)


def _picked_move(rows: Rows, pool: Ints, picked: Ints) -> Tensor:
    if not len(picked):
        raise ValueError("Write a sentence, or pick at least one image.")
    sample = np.random.default_rng(0).permutation(np.setdiff1d(pool, picked))[:MOST_TRAINED]
    return rows.features(picked).mean(0) - rows.features(np.sort(sample)).mean(0)


def _excess(rows: Rows, inside: Ints, outside: Ints) -> float:
    wrong = ~rows.correct
    k, rest = int(wrong[inside].sum()), int(wrong[outside].sum())
    return float(slice_excess_p_value(k, len(inside), k + rest, len(inside) + len(outside)))


def _rate(rows: Rows, positions: Ints) -> Rate:
    return rate(int((~rows.correct[positions]).sum()), len(positions))


def _overlaps(inputs: Inputs, inside: Ints, total: int) -> list[OverlapWith]:
    """Known slices by the share of the answer's rows that they hold; `total` rows are in the split."""
    table = pq.read_table(inputs.earlier["slices"] / "candidates.parquet", columns=["key", "rows", "evidence"])
    table = table.filter(pc.equal(table["evidence"], "confirmed"))
    if not len(inside) or not len(table):
        return []
    answered = np.zeros(total, bool)
    answered[inside] = True
    members = table["rows"].combine_chunks()
    owner = np.repeat(np.arange(len(table)), members.value_lengths().to_numpy())
    shares = np.bincount(owner, answered[members.flatten().to_numpy()], len(table)) / len(inside)
    best = np.argsort(-shares, kind="stable")[:MOST_OVERLAPS]
    keys = table["key"].to_pylist()
    return [OverlapWith(key=keys[i], title=keys[i], share=float(shares[i])) for i in best if shares[i] > 0]
