"""Effective robustness: the model beside the line that the project's other models follow. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from app.audits.base import RunReader
from app.audits.pieces import Estimate, OtherRun
from app.audits.shift.schema import ShiftSummary
from app.audits.shift.sets import estimate
from app.audits.splits import NamedSplit
from app.numerics.shift.effective import LEAST, effective_robustness

RESAMPLES = 300


class OtherModel(BaseModel):
    """Another model of the project, audited on both sets."""

    name: str
    first: float
    second: float


class Robust(BaseModel):
    """A model beside a line."""

    models: list[OtherModel]
    expected: float | None = None
    residual: Estimate | None = None
    text: str


def effective(summary: ShiftSummary, reader: RunReader) -> Robust | None:
    """Return the residual over the line through the project's other models; None without labels."""
    change = summary.accuracy.change
    if change is None or summary.first is None or summary.second is None:
        return None
    models = list(_others(summary, reader))
    distinct = len({model.first for model in models})
    if len(models) < LEAST or distinct < 2:
        text = (
            f"{len(models):,} other models of this project were audited on both sets; a line needs {LEAST} with "
            "different accuracies. Audit further models here and on the second set."
        )
        return Robust(models=models, text=text)
    pairs = ((round(e.value * e.n), e.n) for e in (change.first, change.second))
    here, there = pairs
    found = effective_robustness(
        here, there, ([m.first for m in models], [m.second for m in models]), seed=0, resamples=RESAMPLES
    )
    beyond = " Its accuracy lies beyond theirs, so that the line is drawn out to it." if found.outside else ""
    text = (
        f"A line through {len(models):,} other models of this project, on logit axes. Above it the model loses less to "
        f"the shift than its accuracy lets expect.{beyond}"
    )
    return Robust(models=models, expected=found.expected, residual=estimate(found.residual), text=text)


def _others(summary: ShiftSummary, reader: RunReader) -> Iterator[OtherModel]:
    """Every other version once, with its accuracy on both sets, from runs of this kind or one run on each set."""
    assert summary.first is not None
    assert summary.second is not None
    named = NamedSplit(summary.second.dataset_id, summary.second.split)
    here = _newest(reader.others(reader.dataset_id, summary.first.split))
    there = _newest(reader.others(*named))
    for version, runs in here.items():
        first = next((found for run in runs if (found := _card(run)) is not None), None)
        beside = next((found for run in runs if (found := _second(run, named)) is not None), None)
        second = beside if beside is not None else next((_card(run) for run in there.get(version, [])), None)
        if first is not None and second is not None:
            yield OtherModel(name=runs[0].model, first=first, second=second)


def _newest(runs: Sequence[OtherRun]) -> dict[int, list[OtherRun]]:
    found: dict[int, list[OtherRun]] = {}
    for run in runs:
        found.setdefault(run.version_id, []).append(run)
    return found


def _card(run: OtherRun) -> float | None:
    accuracy = run.summary.get("card", {}).get("accuracy")
    return None if accuracy is None else float(accuracy["value"])


def _second(run: OtherRun, named: NamedSplit) -> float | None:
    raw = run.summary.get("shift")
    if not raw or raw.get("unavailable"):
        return None
    other = ShiftSummary.model_validate(raw)
    if other.second is None or (other.second.dataset_id, other.second.split) != named or other.accuracy.change is None:
        return None
    return other.accuracy.change.second.value
