"""What analysts ask of a finished run: hypotheses, more like these, a slice of their own measured, neighbours."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.audits.base import ActionResult, Inputs
from app.audits.slices.caption import Captioner
from app.audits.slices.measure import Candidate, measure, rate
from app.audits.slices.rows import BLOCK, Ints, Rows, load
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
from app.numerics.ranking import marked_direction, rank_scores, top_share
from app.numerics.significance import slice_excess_p_value

SHOWN = 48
MOST_OVERLAPS = 5
MOST_TRAINED = 2_000
Floats = NDArray[np.float32]


def hypothesis(inputs: Inputs, payload: HypothesisPayload) -> ActionResult:
    """Test a sentence or picked images: do the rows that match best fail more often than the others of the pool?

    Picked images were seen by the person who picked them, so they are left out of the counts.

    Raises:
        ValueError: neither a sentence nor rows, or the encoder reads no text.
    """
    rows = load(inputs, inputs.earlier["slices"])
    pool = _pool(rows, payload.class_index)
    picked = np.array(payload.rows, dtype=np.int64)
    move = _sentence_move(inputs, rows, payload) if payload.sentence.strip() else _picked_move(rows, pool, picked)
    scores = _scores(rows, pool, move)
    member = top_share(torch.from_numpy(scores), payload.share).numpy()
    tested = ~rows.fit[pool] & ~np.isin(pool, picked)
    inside, outside = pool[tested & member], pool[tested & ~member]
    p = _excess(rows, inside, outside)
    answer = HypothesisAnswer(
        inside=_rate(rows, inside),
        outside=_rate(rows, outside),
        p_value=p,
        rows=_best(inside, scores[tested & member]),
        overlap=_overlaps(inputs, inside),
        sentence=payload.sentence.strip(),
    )
    return ActionResult(answer.model_dump(mode="json"), p_value=p)


def climb(inputs: Inputs, payload: ClimbPayload) -> ActionResult:
    """Re-rank the rows by a ridge regression on the marks; without outside marks a sample of the pool stands in."""
    rows = load(inputs, inputs.earlier["slices"])
    pool = _pool(rows, payload.class_index)
    inside, outside = (np.array(marks, dtype=np.int64) for marks in (payload.inside, payload.outside))
    marked = np.concatenate([inside, outside])
    unmarked = np.setdiff1d(pool, marked)
    if not len(outside):
        outside = np.random.default_rng(inputs.seed).permutation(unmarked)[:MOST_TRAINED]
    weights = marked_direction(rows.features(inside), rows.features(outside))
    scores = _scores(rows, unmarked, weights)
    order = np.argsort(-scores, kind="stable")[: payload.top]
    answer = ClimbAnswer(rows=unmarked[order].tolist(), scores=scores[order].tolist())
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
    """Find the nearest images of the split in the encoder's space."""
    rows = load(inputs, inputs.earlier["slices"])
    pool = np.flatnonzero(rows.audited & (np.arange(len(rows.labels)) != payload.position))
    scores = _scores(rows, pool, rows.features(np.array([payload.position]))[0])
    order = np.argsort(-scores, kind="stable")[: payload.top]
    answer = NeighboursAnswer(rows=pool[order].tolist(), scores=scores[order].tolist())
    return ActionResult(answer.model_dump(mode="json"))


def _pool(rows: Rows, class_index: int | None) -> Ints:
    return np.flatnonzero(rows.audited) if class_index is None else rows.of_class(class_index)


def _sentence_move(inputs: Inputs, rows: Rows, payload: HypothesisPayload) -> Tensor:
    if inputs.encode_text is None:
        raise ValueError("This run's encoder reads no text. Pick images instead of writing a sentence.")
    captioner = Captioner(rows, inputs.params, inputs.encode_text, inputs.encoder_words)
    return captioner.move(payload.sentence.strip(), payload.class_index)


def _picked_move(rows: Rows, pool: Ints, picked: Ints) -> Tensor:
    if not len(picked):
        raise ValueError("Write a sentence, or pick at least one image.")
    sample = np.random.default_rng(0).permutation(np.setdiff1d(pool, picked))[:MOST_TRAINED]
    return rows.features(picked).mean(0) - rows.features(np.sort(sample)).mean(0)


def _scores(rows: Rows, positions: Ints, direction: Tensor) -> Floats:
    """Cosine of every row with a direction, block by block: float32 [m]."""
    blocks = (positions[i : i + BLOCK] for i in range(0, len(positions), BLOCK))
    parts = [rank_scores(rows.features(block), direction).cpu().numpy() for block in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _excess(rows: Rows, inside: Ints, outside: Ints) -> float:
    wrong = ~rows.correct
    k, rest = int(wrong[inside].sum()), int(wrong[outside].sum())
    return float(slice_excess_p_value(k, len(inside), k + rest, len(inside) + len(outside)))


def _rate(rows: Rows, positions: Ints) -> Rate:
    return rate(int((~rows.correct[positions]).sum()), len(positions))


def _best(positions: Ints, scores: Floats) -> list[int]:
    return [int(p) for p in positions[np.argsort(-scores, kind="stable")[:SHOWN]]]


def _overlaps(inputs: Inputs, inside: Ints) -> list[OverlapWith]:
    """Known slices by the share of the answer's rows that they hold."""
    table = pq.read_table(inputs.earlier["slices"] / "candidates.parquet", columns=["key", "rows", "evidence"])
    if not len(inside):
        return []
    found = []
    for key, members, evidence in zip(*(table.column(i).to_pylist() for i in range(3)), strict=True):
        share = float(np.isin(inside, members).mean())
        if evidence == "confirmed" and share > 0:
            found.append(OverlapWith(key=key, title=key, share=share))
    return sorted(found, key=lambda o: -o.share)[:MOST_OVERLAPS]
