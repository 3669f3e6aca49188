"""Stage `slices`: directions, candidates of every method, and what the confirm rows say of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.slices.measure import Candidate, confirmed, measure, rate
from app.audits.slices.propose import PROPOSERS
from app.audits.slices.rows import Rows, prepare
from app.audits.slices.schema import ClassSummary, MethodSummary, Params, SliceMetrics, SlicesSummary
from app.audits.slices.strength import Directions, fit_directions

SAME = 0.5
"""Share of a candidate's rows that makes it the same slice as a better one."""


def find(inputs: Inputs) -> Result:
    """Find candidates on fit rows, measure them on confirm rows."""
    params: Params = inputs.params
    rows = prepare(inputs)
    directions = _directions(rows, inputs)
    candidates = _propose(rows, inputs)
    inputs.progress(0.95, "Measuring candidates on confirm rows")
    metrics = measure(rows, candidates, params.fdr, params.min_errors)
    order = _ranking(metrics, params)
    _mark_same(candidates, metrics, order)
    table = _table(candidates, metrics, order, params)
    return Result(
        summary=_summary(rows, directions, candidates, metrics, params).model_dump(mode="json"),
        scores=_columns(rows, directions),
        details={
            **rows.details(),
            "decision": directions.decision,
            "class_directions": directions.weights.numpy(),
            "slice_directions": _slice_directions(rows, [candidates[i] for i in order]),
        },
        tables={"candidates": table},
    )


def _directions(rows: Rows, inputs: Inputs) -> Directions:
    found: Directions | None = None
    for step in fit_directions(rows, inputs.seed, inputs.params.permutations):
        if isinstance(step, Directions):
            found = step
        else:
            inputs.progress(0.5 * step, "Fitting a direction for each class")
    assert found is not None
    return found


def _propose(rows: Rows, inputs: Inputs) -> list[Candidate]:
    params: Params = inputs.params
    candidates: list[Candidate] = []
    for i, method in enumerate(params.methods):
        inputs.progress(0.5 + 0.45 * i / len(params.methods), f"Looking for slices: {method}")
        candidates.extend(PROPOSERS[method](rows, params, inputs.seed))
    return [candidate for candidate in candidates if candidate.member.any()]


def _ranking(metrics: Sequence[SliceMetrics], params: Params) -> list[int]:
    """Confirmed first; within, by how far the error rate surely exceeds that of the rest."""

    def worse(i: int) -> tuple[bool, float]:
        m = metrics[i]
        return not confirmed(m, params.fdr, params.min_errors), m.rest.value - m.errors.low

    return sorted(range(len(metrics)), key=worse)


def _mark_same(candidates: Sequence[Candidate], metrics: Sequence[SliceMetrics], order: Sequence[int]) -> None:
    kept: dict[int, list[Candidate]] = {}
    for i in order:
        mine = candidates[i]
        better = kept.setdefault(mine.class_index, [])
        shared = ((other.key, float((mine.member & other.member).sum())) for other in better)
        metrics[i].same_as = next((key for key, n in shared if n >= SAME * mine.member.sum()), "")
        if not metrics[i].same_as:
            better.append(mine)


def _table(
    candidates: Sequence[Candidate], metrics: Sequence[SliceMetrics], order: Sequence[int], params: Params
) -> pa.Table:
    """One row per candidate, best first."""
    ranked = [(candidates[i], metrics[i]) for i in order]
    holds = [confirmed(m, params.fdr, params.min_errors) for _, m in ranked]
    return pa.table(
        {
            "key": pa.array([c.key for c, _ in ranked], pa.string()),
            "method": pa.array([c.method for c, _ in ranked], pa.string()),
            "class_index": pa.array([c.class_index for c, _ in ranked], pa.int32()),
            "evidence": pa.array(["confirmed" if yes else "insufficient" for yes in holds], pa.string()),
            "note": pa.array([c.note for c, _ in ranked], pa.string()),
            "metrics": pa.array([m.model_dump_json() for _, m in ranked], pa.string()),
            "rows": pa.array([c.members for c, _ in ranked], pa.list_(pa.int64())),
        }
    )


def read_candidates(table: pa.Table) -> list[tuple[dict[str, str], int, SliceMetrics, np.ndarray]]:
    """Return (texts, class, metrics, member positions) of each candidate in a table that `find` wrote."""
    return [
        (
            {name: row[name] for name in ("key", "method", "evidence", "note")},
            row["class_index"],
            SliceMetrics.model_validate(json.loads(row["metrics"])),
            np.array(row["rows"], dtype=np.int64),
        )
        for row in table.to_pylist()
    ]


def _slice_directions(rows: Rows, candidates: Sequence[Candidate]) -> np.ndarray:
    """float32 [k, d], pointing into each slice: its own direction, else its mean less the mean of the rest."""
    directions = np.zeros((len(candidates), rows.embeddings.shape[1]), np.float32)
    for i, candidate in enumerate(candidates):
        if candidate.direction is not None:
            directions[i] = candidate.direction.numpy()
            continue
        fit = rows.fit[candidate.positions]
        features = rows.features(candidate.positions[fit])
        inside = torch.from_numpy(candidate.member[fit]).to(features.device)
        if inside.any() and not inside.all():
            directions[i] = (features[inside].mean(0) - features[~inside].mean(0)).cpu().numpy()
    return directions


def _columns(rows: Rows, directions: Directions) -> list[ScoreColumn]:
    role = np.where(rows.audited, np.where(rows.fit, "fit", "confirm"), "left out")
    return [
        ScoreColumn("role", role, "fit rows were searched, confirm rows back every number; left out: not audited", ""),
        ScoreColumn(
            "decision", directions.decision, "Decision value of the class's direction", "most negative is hard"
        ),
    ]


def _summary(
    rows: Rows,
    directions: Directions,
    candidates: Sequence[Candidate],
    metrics: Sequence[SliceMetrics],
    params: Params,
) -> SlicesSummary:
    holds = [confirmed(m, params.fdr, params.min_errors) for m in metrics]
    return SlicesSummary(
        fit_rows=int((rows.fit & rows.audited).sum()),
        confirm_rows=int(rows.confirm.sum()),
        fdr=params.fdr,
        min_errors=params.min_errors,
        candidates=len(candidates),
        confirmed=sum(holds),
        classes=[_class(rows, directions, index, positions) for index, positions in rows.by_class()],
        methods=[
            MethodSummary(
                method=method,
                candidates=sum(c.method == method for c in candidates),
                confirmed=sum(c.method == method and yes for c, yes in zip(candidates, holds, strict=True)),
            )
            for method in params.methods
        ],
        captions_available=False,
        notes=_notes(rows),
    )


def _class(rows: Rows, directions: Directions, index: int, positions: np.ndarray) -> ClassSummary:
    wrong = int((~rows.correct[positions]).sum())
    return ClassSummary(
        index=index,
        name=rows.classes[index],
        n=len(positions),
        errors=rate(wrong, len(positions)),
        fitted=bool(directions.fitted[index]),
        reason="" if directions.fitted[index] else _reason(wrong, len(positions)),
        strength=_number(directions.strength[index]),
        strength_null_95=_number(directions.null_95[index]),
        strength_p=_number(directions.p_value[index]),
        chosen_c=_number(directions.cost[index]),
    )


def _reason(wrong: int, n: int) -> str:
    if n == 0:
        return "The split holds no image of this class."
    if wrong == 0:
        return "The model makes no error on this class."
    if wrong == n:
        return "The model is wrong on every image of this class, so right and wrong cannot be told apart."
    return f"{wrong} wrong and {n - wrong} right images are too few to look for a pattern."


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _notes(rows: Rows) -> list[str]:
    left_out = int((~rows.audited).sum())
    if not left_out:
        return []
    return [f"{left_out:,} of {len(rows.audited):,} rows take no part: no label, or no finite output or embedding."]
