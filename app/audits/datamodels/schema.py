"""Parameters and results of the kind `datamodels`. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.audits.pieces import MethodText

Fitted = Literal["weighted", "plain", "subset", "trak"]


METHODS: dict[Fitted, MethodText] = {
    "weighted": MethodText(title="Datamodel, weighted by gradients", scale="change of the log-odds with the image"),
    "plain": MethodText(title="Datamodel", scale="change of the log-odds with the image"),
    "subset": MethodText(title="Subsampled influence", scale="mean log-odds with the image minus without it"),
    "trak": MethodText(title="TRAK", scale="change of the log-odds when the image is in training, to first order"),
}


class Params(BaseModel):
    """What a person can set."""

    retrain: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Networks to train, each on a random part of the training split, by the version's recipe. 0: none. "
        "Hundreds for a small model; more are better.",
    )
    share: float = Field(0.5, ge=0.1, le=0.9, description="Share of the training images that each network sees.")
    targets: int = Field(100, ge=1, le=5000, description="Audited images that get a datamodel, drawn at random.")
    top: int = Field(50, ge=5, le=200, description="Training images kept at each end for each of them.")
    features: int = Field(2048, ge=64, le=16384, description="Numbers kept of each image's gradient and checkpoint.")
    ridge: float | None = Field(
        None, gt=0, le=100, description="Damping of the gradient scores that weigh the datamodels, as in TRAK."
    )
    shapley: int = Field(
        0, ge=0, le=100_000, description="Random orders for Data Shapley, at most 1,000 training images. 0: none."
    )


class FitSummary(BaseModel):
    """One method on subsets that it did not see."""

    method: Fitted
    lds: float = Field(description="Rank correlation with what the held-out networks gave, mean over targets.")
    low: float
    high: float
    r2: float | None = Field(description="Median over targets; none where a method predicts no scale.")
    reason: str = ""


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
    held_out: int = Field(0, description="Networks that the datamodels were judged on.")
    best: Fitted | None = Field(None, description="The method whose lists are kept.")
    no_gradients: str = Field("", description="Why nothing weighs the datamodels; empty where gradients do.")
    methods: list[FitSummary] = Field(default_factory=list)
    memory: Memory | None = None
    values: Values | None = None
    no_values: str = Field("", description="Why Data Shapley was not computed; empty where it was or nobody asked.")
