"""Parameters and results of the kind `datamodels`. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import BaseModel, Field

from app.audits.pieces import MethodText

Fitted = Literal["weighted", "plain", "subset", "trak", "similarity"]
Linear = Literal["weighted", "plain"]
"""Methods that predict outputs themselves, not only their order."""
Removed = Literal["datamodel", "similarity", "random"]
LINEAR: tuple[Linear, ...] = ("weighted", "plain")
LISTED: tuple[Fitted, ...] = ("weighted", "plain", "subset", "similarity")
"""Methods whose most helpful and most harmful images are kept."""
BASELINE: Fitted = "similarity"

METHODS: dict[Fitted, MethodText] = {
    "weighted": MethodText(title="Datamodel, weighted by gradients", scale="change of the log-odds with the image"),
    "plain": MethodText(title="Datamodel", scale="change of the log-odds with the image"),
    "subset": MethodText(title="Subsampled influence", scale="mean log-odds with the image minus without it"),
    "trak": MethodText(title="TRAK", scale="change of the log-odds when the image is in training, to first order"),
    "similarity": MethodText(title="Similarity", scale="cosine, negative where the labels differ"),
}


class Params(BaseModel):
    """What a person can set."""

    retrain: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Networks to train, each on a random part of the training split, by the version's recipe. 0: none. "
        "500 say much of a small model, at least 30 are needed; a fifth of them only judge.",
    )
    share: float = Field(0.5, ge=0.1, le=0.9, description="Share of the training images that each network sees.")
    targets: int = Field(200, ge=1, le=10_000, description="Audited images that get a datamodel, drawn at random.")
    top: int = Field(50, ge=5, le=200, description="Training images kept at each end for each of them.")
    features: int = Field(2048, ge=64, le=16384, description="Numbers kept of each image's gradient and checkpoint.")
    ridge: float | None = Field(
        None, gt=0, le=100, description="Damping of the gradient scores that weigh the datamodels, as in TRAK."
    )
    counterfactuals: int = Field(
        0,
        ge=0,
        le=200,
        description="Predictions that are put to the proof: networks are trained without the images that the datamodel "
        "calls most helpful, without the most similar and without random ones.",
    )
    removed: int = Field(20, ge=1, le=200, description="Images removed for each of these predictions, at most.")
    removal_repeats: int = Field(3, ge=3, le=10, description="Networks trained after each removal.")
    shapley: int = Field(
        0, ge=0, le=100_000, description="Random orders for Data Shapley, at most 1,000 training images. 0: none."
    )


def networks(params: Params) -> int:
    """How many networks these parameters ask to train, at most: on random parts, on all images and after removals."""
    removals = 1 + params.counterfactuals * len(get_args(Removed))
    return params.retrain + (params.removal_repeats * removals if params.counterfactuals else 0)


class Bounds(BaseModel):
    """A value with its 95 % interval; none where it cannot be told."""

    value: float | None
    low: float | None
    high: float | None


class Check(BaseModel):
    """Predicted against actual log-odds of networks that had no part in the fit."""

    correlation: Bounds = Field(description="Pearson's.")
    slope: Bounds = Field(description="Of actual on predicted; 1: calibrated, below: predictions lie too far apart.")
    error: Bounds = Field(description="Mean absolute difference, log-odds.")
    rows: int = Field(description="Subsets, or predictions, that it rests on.")
    columns: int = Field(description="Predictions of each subset, or removals of each prediction.")


class FitSummary(BaseModel):
    """One method on subsets that it did not see."""

    method: Fitted
    reason: str = Field("", description="Why it could not be computed; empty where it was.")
    lds: float | None = Field(
        None, description="Rank correlation with what the held-out networks gave, mean over targets."
    )
    low: float | None = None
    high: float | None = None
    r2: float | None = Field(None, description="Median over targets; none where a method predicts no scale.")
    check: Check | None = Field(None, description="Within targets; none where a method predicts no scale.")


class RemovalSummary(BaseModel):
    """What retraining without some images did to predictions that were right; intervals at 95 %."""

    removed: Removed
    images: float = Field(description="Mean number of images removed.")
    predicted: float = Field(description="Mean fall of the log-odds that the datamodel predicts.")
    drop: Bounds = Field(description="Mean fall of the log-odds that came of it.")
    flipped: Bounds = Field(description="Share of predictions that most of the networks get wrong.")


class Counterfactuals(BaseModel):
    """Predicted counterfactuals against networks trained without the images."""

    method: Linear
    predictions: int
    repeats: int
    removals: list[RemovalSummary]
    check: Check


class Memory(BaseModel):
    """Memorisation: the mean fall of a training image's own log-odds when it is left out."""

    rows: int = Field(description="Training images that some networks saw and some did not.")
    mean: float
    strong: int = Field(description="Images more than two standard errors above 1.")


class Values(BaseModel):
    """Data Shapley of the last layer, in shares of the accuracy on audited images."""

    rows: int
    orders: int
    accuracy: float = Field(description="Of the logistic last layer, trained on all of them.")
    chance: float
    negative: int = Field(description="Images whose value is more than two standard errors below zero.")


class DatamodelsSummary(BaseModel):
    """Summary of the kind."""

    unavailable: str = Field("", description="Why there are no datamodels; empty where there are.")
    models: int = 0
    share: float = 0.5
    train_rows: int = 0
    targets: int = 0
    of_targets: int = Field(0, description="Audited images with a label, which targets were drawn from.")
    held_out: int = Field(0, description="Subsets that the datamodels were judged on; no fit saw their networks.")
    repeats: int = Field(0, description="Networks trained on each of them.")
    repeatability: float | None = Field(None, description="Rank correlation of two networks on the same subsets.")
    ceiling: float | None = Field(None, description="The score that a perfect attribution would get.")
    best: Linear | None = Field(None, description="The datamodel that counterfactuals are predicted by.")
    no_gradients: str = Field("", description="Why nothing weighs the datamodels; empty where gradients do.")
    methods: list[FitSummary] = Field(default_factory=list)
    counterfactuals: Counterfactuals | None = None
    memory: Memory | None = None
    values: Values | None = None
    no_values: str = Field("", description="Why Data Shapley was not computed; empty where it was or nobody asked.")


def baseline_of(methods: Sequence[FitSummary]) -> float | None:
    """The score of plain similarity."""
    return next((m.lds for m in methods if m.method == BASELINE), None)


def beaten(method: FitSummary, methods: Sequence[FitSummary]) -> bool:
    """Whether plain similarity does as well."""
    baseline = baseline_of(methods)
    return baseline is not None and method.lds is not None and method.method != BASELINE and method.lds <= baseline


def ranked(methods: Sequence[FitSummary]) -> list[FitSummary]:
    """The best first, none before a baseline that does as well; those that could not be computed last."""
    order = list(METHODS)
    return sorted(
        methods,
        key=lambda m: (m.lds is None, beaten(m, methods), -(m.lds or 0.0), order.index(m.method)),
    )
