"""The run's panel: how training data was attributed, and what retraining says of each method."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.influence.page_ends import beaten, estimate, evidence, trust_scale
from app.audits.influence.page_stability import stability_sentences
from app.audits.influence.ranking import ranked
from app.audits.influence.schema import (
    METHODS,
    CurvatureSummary,
    InfluenceSummary,
    MethodSummary,
    Removal,
    RidgeBy,
    RidgePoint,
)
from app.audits.pieces import Estimate

_CHOSEN: dict[RidgeBy, str] = {
    "given": "as the audit asked for",
    "usual": "the usual one for a single checkpoint",
    "checkpoints": "the one under which checkpoints foretell one another best",
    "retrained": "the best on one half of the retrained networks",
}
_MEASURED: dict[RidgeBy, str] = {
    "checkpoints": "Correlation with a checkpoint that was left out",
    "retrained": "Linear datamodelling score on the choosing half",
}


class MethodRow(BaseModel):
    """A method as the run's page lists it."""

    title: str
    reason: str
    lds: Estimate | None
    evidence: str
    beaten: bool = Field(description="Whether plain similarity does as well.")
    removal: Estimate | None = Field(description="Share of predictions that flip without its most helpful images.")
    fall: Estimate | None = Field(description="Mean fall of their log-odds.")


class RunInfluence(BaseModel):
    """How training data was attributed in this run."""

    unavailable: str
    sentences: list[str]
    stability: list[str] = Field(description="How stable the lists of all audited images are.")
    methods: list[MethodRow]
    scale: tuple[float, float] = Field(description="Ends of the axis of all linear datamodelling scores.")
    ceiling: float | None = Field(description="The score that a perfect attribution would get.")
    random_removal: Estimate | None = Field(description="Share that flips without as many random images.")
    random_fall: Estimate | None = Field(description="Mean fall of the log-odds without as many random images.")
    falls: tuple[float, float] = Field(description="Ends of the axis of all falls.")
    proof: str = Field(description="What the scores were measured on, or that nothing was retrained.")
    ridges: list[RidgePoint] = Field(description="What was tried as TRAK's ridge; empty where nothing was compared.")
    ridges_by: str = Field(description="What the tried ridges were compared by.")


def run_context(summary: InfluenceSummary) -> RunInfluence:
    """Return what a run's page shows of a summary."""
    return RunInfluence(
        unavailable=summary.unavailable,
        sentences=[] if summary.unavailable else _sentences(summary),
        stability=stability_sentences(summary.stability),
        methods=[_row(m, summary) for m in ranked(summary.methods)],
        scale=trust_scale(summary),
        ceiling=summary.proof.ceiling if summary.proof else None,
        random_removal=_flips(summary.random_removal),
        random_fall=_fall(summary.random_removal),
        falls=_falls(summary),
        proof=_proof(summary),
        ridges=summary.ridge_curve,
        ridges_by=_MEASURED.get(summary.ridge_by, ""),
    )


def _row(method: MethodSummary, summary: InfluenceSummary) -> MethodRow:
    return MethodRow(
        title=METHODS[method.method].title,
        reason=method.reason,
        lds=estimate(method, summary),
        evidence=evidence(method),
        beaten=beaten(method, summary.methods),
        removal=_flips(method.removal),
        fall=_fall(method.removal),
    )


def _flips(removal: Removal | None) -> Estimate | None:
    if removal is None:
        return None
    return Estimate(value=removal.rate, low=removal.low, high=removal.high, n=removal.predictions)


def _fall(removal: Removal | None) -> Estimate | None:
    if removal is None:
        return None
    return Estimate(value=removal.drop, low=removal.drop_low, high=removal.drop_high, n=removal.predictions)


def _falls(summary: InfluenceSummary) -> tuple[float, float]:
    """From the lowest end of an interval, zero at most, to the highest."""
    found = [one for one in (summary.random_removal, *(m.removal for m in summary.methods)) if one]
    return min([0.0, *(one.drop_low for one in found)]), max([0.1, *(one.drop_high for one in found)])


def _sentences(summary: InfluenceSummary) -> list[str]:
    found = [f"Each of {summary.targets:,} audited images against {summary.train_rows:,} training images."]
    if summary.same_split:
        found.append(
            "The audited split is the training split itself, so that an image leads its own list. To see what "
            "predictions on new images lean on, audit a split that the model was not trained on."
        )
    if summary.checkpoints and summary.ridge is not None:
        points = "one checkpoint" if summary.checkpoints == 1 else f"{summary.checkpoints} checkpoints"
        share = f"{100 * summary.coverage:.1f} % of the weights" if summary.coverage is not None else "the weights"
        found.append(f"Gradients were taken at {points}, of {share}.")
        found.append(f"TRAK's ridge is {summary.ridge:.2g} × the mean eigenvalue, {_CHOSEN[summary.ridge_by]}.")
    return found + _curvature(summary.curvature)


def _curvature(found: CurvatureSummary | None) -> list[str]:
    if found is None:
        return []
    said = (
        f"EK-FAC's curvature is that of {found.rows:,} training images at the last checkpoint; the directions that are "
        f"kept carry {100 * found.share:.1f} % of the variance of its scores"
    )
    rough = f", and for {100 * found.diagonal:.1f} % of the weights it is diagonal" if found.diagonal >= 0.001 else ""
    return [f"{said}{rough}."]


def _proof(summary: InfluenceSummary) -> str:
    if summary.proof is None:
        return (
            "Unverified: no network was retrained in this run. With a training recipe on the model version and some "
            "random halves to retrain on, this table says how far each method can be trusted."
        )
    p = summary.proof
    said = (
        f"Linear datamodelling score: rank correlation of what a method predicts with what networks gave that were "
        f"retrained on {p.subsets:,} random halves, {p.repeats} each."
    )
    return said + (f" A perfect attribution would get {p.ceiling:.2f}." if p.ceiling is not None else "")
