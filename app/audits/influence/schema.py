"""Parameters and results of the kind `influence`. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Method = Literal["trak", "tracin", "knn_shapley", "similarity"]
BASELINE: Method = "similarity"


class MethodText(BaseModel):
    """What a page says of a method."""

    title: str
    scale: str
    """What its scores mean."""


METHODS: dict[Method, MethodText] = {
    "trak": MethodText(title="TRAK", scale="change of the log-odds when the image is in training, to first order"),
    "tracin": MethodText(title="TracIn, last layer", scale="loss that a step on the image takes away, up to a factor"),
    "knn_shapley": MethodText(title="KNN-Shapley", scale="share of the neighbours' vote for the true class"),
    "similarity": MethodText(title="Similarity", scale="cosine, negative where the labels differ"),
}


class Params(BaseModel):
    """What a person can set."""

    features: int = Field(2048, ge=64, le=16384, description="Numbers kept of each image's gradient and checkpoint.")
    ridge: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Damping of TRAK, times the mean eigenvalue; empty: 1 over several checkpoints, 3 for one.",
    )
    neighbours: int = Field(10, ge=1, le=200, description="Neighbours of KNN-Shapley.")
    top: int = Field(50, ge=5, le=200, description="Training images kept at each end for every audited image.")


class MethodSummary(BaseModel):
    """One method in one run."""

    method: Method
    reason: str = Field("", description="Why it could not be computed; empty where it was.")
    verified: Literal["unverified", "verified"] = "unverified"
    lds: float | None = None
    low: float | None = None
    high: float | None = None


class SuspectsSummary(BaseModel):
    """How many training images look wrong, and what that list is worth."""

    reason: str = Field("", description="Why labels could not be judged; empty where they were.")
    mislabelled: int = 0
    conflict: int = Field(0, description="Copies of one picture with different labels.")
    leaked: int = Field(0, description="Training images that the audited split holds as well.")
    duplicated: int = 0
    planted: int = Field(0, description="Wrong labels that were planted to test the list.")
    planted_in_worst: int = Field(0, description="Of these, how many stand among as many worst images.")
    planted_named: int = Field(0, description="Of these, how many confident learning names.")


class InfluenceSummary(BaseModel):
    """Summary of the kind."""

    unavailable: str = Field("", description="Why nothing could be attributed; empty where something was.")
    train_rows: int = 0
    targets: int = 0
    checkpoints: int = 0
    coverage: float | None = Field(None, description="Share of the parameters that gradients speak of.")
    ridge: float | None = None
    methods: list[MethodSummary] = Field(default_factory=list)
    suspects: SuspectsSummary = SuspectsSummary()
