"""The run's panel: what networks trained on random parts of the data say, and how far that can be trusted."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.datamodels.page_ends import trust, trust_scale
from app.audits.datamodels.schema import (
    METHODS,
    Bounds,
    Check,
    Counterfactuals,
    DatamodelsSummary,
    FitSummary,
    Removed,
    beaten,
    ranked,
)
from app.audits.pieces import Estimate

REMOVALS: dict[Removed, str] = {
    "datamodel": "The images that the datamodel calls most helpful",
    "similarity": "The most similar",
    "random": "Random images of the same class",
}


class CheckRow(BaseModel):
    """Predicted against actual outputs."""

    correlation: Estimate | None
    slope: Estimate | None
    error: Estimate | None


class MethodRow(BaseModel):
    """A method as the run's page lists it."""

    title: str
    reason: str
    lds: Estimate | None
    beaten: bool = Field(description="Whether plain similarity does as well.")
    r2: float | None
    check: CheckRow | None


class RemovalRow(BaseModel):
    """What was left out before retraining, what was predicted of it, and what came of it."""

    title: str
    images: str
    predicted: float
    drop: Estimate | None
    flipped: Estimate | None


class RunDatamodels(BaseModel):
    """What the retrained networks said."""

    unavailable: str
    sentences: list[str]
    methods: list[MethodRow]
    scale: tuple[float, float] = Field(description="Ends of the axis of all linear datamodelling scores.")
    ceiling: float | None
    note: str = Field(description="What the scores were measured on.")
    removals: list[RemovalRow]
    removal_scale: tuple[float, float]
    removal_check: CheckRow | None
    removal_note: str


def run_context(raw: dict[str, object]) -> RunDatamodels:
    """Return what a run's page shows of a summary."""
    summary = DatamodelsSummary.model_validate(raw)
    tried = summary.counterfactuals
    return RunDatamodels(
        unavailable=summary.unavailable,
        sentences=_sentences(summary),
        methods=[_row(m, summary) for m in ranked(summary.methods)],
        scale=trust_scale(summary),
        ceiling=summary.ceiling,
        note=_note(summary) if summary.methods else "",
        removals=_removals(tried) if tried else [],
        removal_scale=_removal_scale(tried) if tried else (0.0, 1.0),
        removal_check=_check(tried.check, tried.predictions) if tried else None,
        removal_note=_removal_note(tried) if tried else "",
    )


def _row(method: FitSummary, summary: DatamodelsSummary) -> MethodRow:
    return MethodRow(
        title=METHODS[method.method].title,
        reason=method.reason,
        lds=trust(method, summary),
        beaten=beaten(method, summary.methods),
        r2=method.r2,
        check=_check(method.check, method.check.rows * method.check.columns) if method.check else None,
    )


def _check(check: Check, n: int) -> CheckRow:
    parts = {name: _estimate(getattr(check, name), n) for name in ("correlation", "slope", "error")}
    return CheckRow.model_validate(parts)


def _estimate(bounds: Bounds, n: int) -> Estimate | None:
    if bounds.value is None:
        return None
    return Estimate(value=bounds.value, low=bounds.low, high=bounds.high, n=n)


def _removals(tried: Counterfactuals) -> list[RemovalRow]:
    return [
        RemovalRow(
            title=REMOVALS[r.removed],
            images=f"{r.images:.1f}".removesuffix(".0"),
            predicted=r.predicted,
            drop=_estimate(r.drop, tried.predictions),
            flipped=_estimate(r.flipped, tried.predictions),
        )
        for r in tried.removals
    ]


def _removal_scale(tried: Counterfactuals) -> tuple[float, float]:
    bounds = [b for r in tried.removals for b in (r.drop.value, r.drop.low, r.drop.high, r.predicted) if b is not None]
    low, high = min([0.0, *bounds]), max([0.1, *bounds])
    return round(low - 0.05 * (high - low), 2) if low < 0 else 0.0, round(high + 0.05 * (high - low), 2)


def _removal_note(tried: Counterfactuals) -> str:
    return (
        f"{tried.predictions:,} predictions that the model gets right; {tried.repeats} networks were trained on all "
        "images and as many without each group. Fall: mean log-odds lost; the dashed tick is what the datamodel "
        "predicted of it. Of every prediction and group, predicted against actual:"
    )


def _note(summary: DatamodelsSummary) -> str:
    said = (
        f"Linear datamodelling score: rank correlation, over {summary.held_out:,} random parts of the training data, "
        f"of what a method predicts with what {summary.repeats} networks trained on each gave on average; no fit saw "
        "these networks."
    )
    if summary.ceiling is not None:
        said += f" A perfect attribution would get {summary.ceiling:.2f}."
    return said + (
        " Predicted against actual log-odds: correlation and slope within each image (slope 1 is calibrated), and the "
        "mean absolute difference; there n counts pairs of part and image."
    )


def _sentences(summary: DatamodelsSummary) -> list[str]:
    found = []
    if not summary.unavailable:
        found.append(
            f"{summary.models:,} networks, each trained on {100 * summary.share:.0f} % of {summary.train_rows:,} "
            f"images and asked about {summary.targets:,} of {summary.of_targets:,} audited images; "
            f"{summary.held_out * summary.repeats:,} of the networks only judge."
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
