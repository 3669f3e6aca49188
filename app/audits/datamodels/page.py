"""Panels of the kind `datamodels`."""

from __future__ import annotations

from pydantic import BaseModel

from app.audits.base import Panel, RunReader, Subject
from app.audits.datamodels.schema import METHODS, DatamodelsSummary
from app.audits.pieces import Estimate


class MethodRow(BaseModel):
    """A method as the run's page lists it."""

    title: str
    lds: Estimate
    r2: float | None


class RunDatamodels(BaseModel):
    """What the retrained networks said."""

    unavailable: str
    sentences: list[str]
    methods: list[MethodRow]


def panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the panels of this kind for `subject`; none when the run has no result of it."""
    raw = reader.summary("datamodels")
    if not raw or subject.type not in {"run", "report"} or (subject.type == "report" and raw.get("unavailable")):
        return []
    return [Panel("datamodels", "Datamodels", "datamodels/run.html", run_context(raw), 62)]


def run_context(raw: dict[str, object]) -> RunDatamodels:
    """Return what a run's page shows of a summary."""
    summary = DatamodelsSummary.model_validate(raw)
    rows = [
        MethodRow(
            title=METHODS[m.method].title,
            lds=Estimate(value=m.lds, low=m.low, high=m.high, n=summary.held_out),
            r2=m.r2,
        )
        for m in summary.methods
    ]
    return RunDatamodels(unavailable=summary.unavailable, sentences=_sentences(summary), methods=rows)


def _sentences(summary: DatamodelsSummary) -> list[str]:
    found = []
    if not summary.unavailable:
        found.append(
            f"{summary.models:,} networks, each trained on {100 * summary.share:.0f} % of {summary.train_rows:,} "
            f"images; {summary.held_out:,} of them only judge."
        )
    if summary.no_gradients:
        found.append(f"Not weighted by gradients: {summary.no_gradients}")
    if summary.memory is not None:
        m = summary.memory
        found.append(
            f"Left out, an image loses {m.mean:.2f} log-odds on average; {m.strong:,} of {m.rows:,} are memorised."
        )
    if summary.values is not None:
        v = summary.values
        found.append(
            f"Data Shapley over {v.orders:,} orders: {v.negative:,} of {v.rows:,} images lower the last layer's "
            f"accuracy of {100 * v.accuracy:.1f} %."
        )
    return [*found, summary.no_values] if summary.no_values else found
