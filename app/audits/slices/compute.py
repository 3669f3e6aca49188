"""Stage `slices`: directions, candidates of every method, and what the confirm rows say of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from app.audits.base import Inputs, Result, ScoreColumn
from app.audits.slices.measure import Candidate, confirmed, measure, rate
from app.audits.slices.propose import PROPOSERS
from app.audits.slices.ranking import Measured
from app.audits.slices.rows import Rows, prepare
from app.audits.slices.schema import ClassSummary, MethodSummary, Params, SliceMetrics, SlicesSummary
from app.audits.slices.similar import LENGTHS, row_lengths
from app.audits.slices.strength import Directions, fit_directions
from app.numerics.caption_choice import group_direction


def find(inputs: Inputs) -> Result:
    """Find candidates on fit rows, measure them on confirm rows."""
    params: Params = inputs.params
    rows = prepare(inputs)
    directions = _directions(rows, inputs)
    candidates = _propose(rows, inputs)
    inputs.progress(0.95, "Measuring candidates on confirm rows")
    metrics = measure(rows, candidates, params.fdr, params.min_errors)
    return Result(
        summary=_summary(rows, directions, candidates, metrics, params).model_dump(mode="json"),
        scores=_columns(rows, directions),
        details={
            **rows.details(),
            LENGTHS: row_lengths(rows),
            "decision": directions.decision,
            "class_directions": directions.weights.numpy(),
            **_slice_cuts(rows, candidates),
        },
        tables={"candidates": _table(candidates, metrics, params)},
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


def _table(candidates: Sequence[Candidate], metrics: Sequence[SliceMetrics], params: Params) -> pa.Table:
    """One row per candidate, in the order of the methods."""
    holds = [confirmed(m, params.fdr, params.min_errors) for m in metrics]
    return pa.table(
        {
            "key": pa.array([c.key for c in candidates], pa.string()),
            "method": pa.array([c.method for c in candidates], pa.string()),
            "class_index": pa.array([c.class_index for c in candidates], pa.int32()),
            "evidence": pa.array(["confirmed" if yes else "insufficient" for yes in holds], pa.string()),
            "note": pa.array([c.note for c in candidates], pa.string()),
            "metrics": pa.array([m.model_dump_json() for m in metrics], pa.string()),
            "rows": pa.array([c.members for c in candidates], pa.list_(pa.int64())),
        }
    )


def read_candidates(table: pa.Table) -> list[Measured]:
    """Return the candidates in a table that `find` wrote."""
    return [
        Measured(
            key=row["key"],
            method=row["method"],
            note=row["note"],
            confirmed=row["evidence"] == "confirmed",
            class_index=row["class_index"],
            metrics=SliceMetrics.model_validate_json(row["metrics"]),
            rows=np.array(row["rows"], dtype=np.int64),
        )
        for row in table.to_pylist()
    ]


def _slice_cuts(rows: Rows, candidates: Sequence[Candidate]) -> dict[str, np.ndarray]:
    """For each candidate a direction into it, and the projection from which rows that no method saw belong to it."""
    directions = np.zeros((len(candidates), rows.embeddings.shape[1]), np.float32)
    cuts = np.zeros(len(candidates), np.float32)
    for i, candidate in enumerate(candidates):
        directions[i], cuts[i] = _slice_cut(rows, candidate)
    return {"slice_directions": directions, "slice_cuts": cuts}


def _slice_cut(rows: Rows, candidate: Candidate) -> tuple[np.ndarray, float]:
    """The method's own direction, else the mean less the mean of the rest; cut off so that as many fit rows belong."""
    fit = rows.fit[candidate.positions]
    features = rows.features(candidate.positions[fit]).cpu()
    member = torch.from_numpy(candidate.member[fit])
    direction = group_direction(features, member) if candidate.direction is None else candidate.direction
    if not len(features):
        return direction.numpy(), 0.0
    cut = torch.quantile(features @ direction, 1 - member.float().mean())
    return direction.numpy(), float(cut)


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
