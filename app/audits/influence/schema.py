"""Parameters and results of the kind `influence`. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.audits.pieces import MethodText

Method = Literal["trak", "ekfac", "tracin_full", "tracin", "knn_shapley", "similarity"]
RidgeBy = Literal["given", "usual", "checkpoints", "retrained"]
"""Who chose TRAK's ridge."""
BASELINE: Method = "similarity"
RANDOM = "random"
"""Stands beside the methods where images are removed."""
STABLE: Method = "trak"
"""The method whose evidence falls into halves: its lists say how stable they are."""


METHODS: dict[Method, MethodText] = {
    "trak": MethodText(title="TRAK", scale="change of the log-odds when the image is in training, to first order"),
    "ekfac": MethodText(
        title="EK-FAC influence",
        scale="fall of the log-odds when the image leaves the training data, to first order",
    ),
    "tracin_full": MethodText(
        title="TracIn, all weights", scale="loss that a step on the image takes away, up to a factor"
    ),
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
        description="Damping of TRAK, times the mean eigenvalue; empty: chosen by retrained halves or checkpoints.",
    )
    neighbours: int = Field(10, ge=1, le=200, description="Neighbours of KNN-Shapley.")
    top: int = Field(50, ge=5, le=200, description="Training images kept at each end for every audited image.")
    retrain: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Random halves of the training split to retrain on, by the version's recipe; they say how far each "
        "method can be trusted. 0: none. 64 are enough for a small model.",
    )
    repeats: int = Field(2, ge=1, le=10, description="Networks trained on each half, from different seeds.")
    proof_targets: int = Field(100, ge=5, le=2000, description="Audited images that the retrained networks are asked.")
    counterfactuals: int = Field(
        0, ge=0, le=200, description="Predictions of which the most helpful images are removed before retraining."
    )
    removed: int = Field(20, ge=1, le=200, description="Images removed for each of these predictions.")
    removal_repeats: int = Field(3, ge=3, le=10, description="Networks trained after each removal.")


def networks(params: Params) -> int:
    """How many networks these parameters ask to train, at most: on random halves, on all images and after removals."""
    removals = 1 + params.counterfactuals * (len(METHODS) + 1)
    return params.retrain * params.repeats + (params.removal_repeats * removals if params.counterfactuals else 0)


class Removal(BaseModel):
    """What retraining without some images did to predictions that were right; intervals at 95 %."""

    predictions: int
    flipped: int = Field(description="Predictions that most of the retrained networks get wrong.")
    rate: float
    low: float
    high: float
    drop: float = Field(description="Mean fall of the margin, log-odds.")
    drop_low: float
    drop_high: float


class RidgePoint(BaseModel):
    """A ridge that was tried, and how good it was.

    `value`: TRAK's linear datamodelling score on the choosing half of the subsets, or the correlation with the scores
    of a checkpoint that was left out.
    """

    ridge: float
    value: float


class Proof(BaseModel):
    """What the linear datamodelling scores of a run were measured on."""

    subsets: int = Field(description="Random halves; where the ridge was chosen, those that had no part in it.")
    repeats: int
    targets: int
    repeatability: float | None = Field(description="Rank correlation of two single retrainings on the same halves.")
    ceiling: float | None = Field(description="The score of a perfect attribution; none with one network a half.")


class SharedTops(BaseModel):
    """How many images of one end of the lists both halves of the evidence name; the interval is over audited images."""

    mean: float
    low: float
    high: float
    noisy: int = Field(description="Audited images whose two lists share no more than two lists of noise.")


class Stability(BaseModel):
    """What two disjoint halves of the evidence behind TRAK agree on."""

    halves: Literal["checkpoints", "features"]
    compared: int = Field(description="Images of each end that are compared.")
    chance: float = Field(description="What two lists of noise share on average.")
    noise: int = Field(description="What two lists of noise share at most, but for one case in a hundred.")
    targets: int
    helpful: SharedTops
    harmful: SharedTops


class CurvatureSummary(BaseModel):
    """What EK-FAC's curvature was fitted on, and what its features keep."""

    rows: int = Field(description="Training images.")
    share: float = Field(description="Share of the scores' variance that the kept directions carry.")
    diagonal: float = Field(description="Share of the weights whose curvature is diagonal.")


class MethodSummary(BaseModel):
    """One method in one run."""

    method: Method
    reason: str = Field("", description="Why it could not be computed; empty where it was.")
    verified: Literal["unverified", "verified"] = "unverified"
    lds: float | None = None
    low: float | None = None
    high: float | None = None
    removal: Removal | None = Field(None, description="Without the images that this method calls most helpful.")


class SuspectsSummary(BaseModel):
    """How many training images look wrong, and what that list is worth."""

    reason: str = Field("", description="Why labels could not be judged; empty where they were.")
    mislabelled: int = 0
    conflict: int = Field(0, description="Copies of one picture with different labels.")
    leaked: int = Field(0, description="Training images that the audited split holds as well.")
    duplicated: int = 0
    planted: int = Field(0, description="Wrong labels that were planted to test the list.")
    planted_in_worst: int = Field(0, description="Of these, how many stand in the worst fifth of the list.")
    planted_named: int = Field(0, description="Of these, how many confident learning names.")
    planted_low: float = Field(0.0, description="Lower end of the 95 % interval of the share that it names.")
    planted_high: float = 1.0


class ClusterSummary(BaseModel):
    """Training images that act on the same audited images in the same way."""

    n: int
    labels: list[tuple[int, int]] = Field(description="Commonest labels and how many images have each.")


class EffectsSummary(BaseModel):
    """Directions and clusters of training data by effect."""

    method: Method
    targets: int = Field(description="Audited images that the effects are on.")
    of_targets: int = Field(description="Audited images of the run; more than `targets` where a sample was taken.")
    shares: list[float] = Field(description="Share of all effects that each direction explains, largest first.")
    clusters: list[ClusterSummary]


class InfluenceSummary(BaseModel):
    """Summary of the kind."""

    unavailable: str = Field("", description="Why nothing could be attributed; empty where something was.")
    train_rows: int = 0
    targets: int = 0
    mistakes: int = Field(0, description="Audited images that the model gets wrong.")
    checkpoints: int = 0
    same_split: bool = Field(False, description="Whether the audited split is the training split itself.")
    coverage: float | None = Field(None, description="Share of the parameters that gradients speak of.")
    ridge: float | None = None
    ridge_by: RidgeBy = "usual"
    ridge_curve: list[RidgePoint] = Field(default_factory=list, description="Empty where it was not chosen here.")
    methods: list[MethodSummary] = Field(default_factory=list)
    curvature: CurvatureSummary | None = Field(None, description="Of EK-FAC; none where it could not be fitted.")
    stability: Stability | None = Field(None, description="Of TRAK; none where there are no gradients.")
    proof: Proof | None = None
    random_removal: Removal | None = Field(None, description="Without as many random images of the same class.")
    suspects: SuspectsSummary = SuspectsSummary()
    effects: EffectsSummary | None = None
