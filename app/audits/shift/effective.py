"""Effective robustness: the model beside the lines that other models follow. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from app.audits.base import RunReader
from app.audits.pieces import Estimate, OtherRun
from app.audits.shift.schema import Changed, ShiftSummary
from app.audits.shift.sets import estimate
from app.audits.splits import NamedSplit
from app.numerics.shift.effective import LEAST, effective_robustness
from app.numerics.shift.published import published

RESAMPLES = 300


class OtherModel(BaseModel):
    """Another model of the project, audited on both sets."""

    name: str
    first: float
    second: float


class Robust(BaseModel):
    """A model beside a line."""

    title: str
    models: list[OtherModel]
    expected: float | None = None
    residual: Estimate | None = None
    text: str
    source: str = ""


def effective(summary: ShiftSummary, reader: RunReader) -> list[Robust]:
    """Return the residual over the line of the project's other models and over a published one; none without labels."""
    if summary.accuracy.change is None or summary.second is None:
        return []
    found = [_own(summary.accuracy.change, list(_others(summary, reader)))]
    return [*found, _published(summary.accuracy.change, summary.published)] if summary.published != "none" else found


def _own(change: Changed, models: list[OtherModel]) -> Robust:
    title = "Against the project's other models"
    if len(models) < LEAST or len({model.first for model in models}) < 2:
        known = f"Only {len(models):,}" if models else "None"
        text = (
            f"{known} of this project's other models is audited on both sets; a line needs {LEAST} with different "
            "accuracies. Audit further models here and on the second set."
        )
        return Robust(title=title, models=models, text=text)
    return _beside(change, title, models, f"{len(models):,} other models of this project")


def _published(change: Changed, key: str) -> Robust:
    line = published()[key]
    models = [
        OtherModel(name=name, first=float(first), second=float(second))
        for name, first, second in zip(line.models, line.accuracy, line.shifted_accuracy, strict=True)
    ]
    title = f"Against {len(models):,} published models"
    found = _beside(change, title, models, f"{len(models):,} models measured on {line.original} and on {line.shifted}")
    return found.model_copy(update={"source": line.source})


def _beside(change: Changed, title: str, models: list[OtherModel], of: str) -> Robust:
    here, there = ((round(found.value * found.n), found.n) for found in (change.first, change.second))
    pairs = [model.first for model in models], [model.second for model in models]
    found = effective_robustness(here, there, pairs, seed=0, resamples=RESAMPLES)
    beyond = " Its accuracy lies beyond theirs, so that the line is drawn out to it." if found.outside else ""
    text = (
        f"A line through {of}, on logit axes. Above it the model loses less to the shift than its accuracy lets "
        f"expect.{beyond}"
    )
    return Robust(title=title, models=models, expected=found.expected, residual=estimate(found.residual), text=text)


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
