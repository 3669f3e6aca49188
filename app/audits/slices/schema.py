"""Parameters and results of the kind `slices`. Rates are of errors, in [0, 1]; each with n and interval."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Method = Literal["direction", "mixture", "confidence", "cells", "metadata"]


class Params(BaseModel):
    """What an analyst can choose; all of it is recorded with the run."""

    methods: list[Method] = Field(
        default=["direction", "mixture", "metadata", "confidence"],
        title="Methods",
        description="Ways to look for slices; each is held to the same confirm rows.",
    )
    max_slices: int = Field(
        4, ge=1, le=12, title="Most slices per class", description="The number is chosen on held-out gain, up to this."
    )
    fdr: float = Field(
        0.05, gt=0, lt=0.5, title="False discovery rate", description="Share of false slices tolerated among confirmed."
    )
    min_errors: int = Field(
        10, ge=1, le=1000, title="Least errors", description="A slice needs this many errors on confirm rows."
    )
    permutations: int = Field(
        100, ge=0, le=2000, title="Permutations", description="Shuffles that scale the strength of a class."
    )
    caption_facets: dict[str, list[str]] = Field(
        default_factory=dict,
        title="Vocabulary",
        description="Words by facet for the caption bank; empty means the built-in vocabulary.",
    )
    caption_templates: list[str] = Field(
        default=["a photo of a {adjective} {noun} {setting}"],
        title="Caption templates",
        description="{noun} is the class, {adjective} and {setting} come from the vocabulary.",
    )
    sentences: list[str] = Field(
        default_factory=list, title="Own captions", description="Sentences of your own, scored with the bank."
    )
    calibrate: bool = Field(
        True,
        title="Self-calibration",
        description="Plant slices in your own data and see how well each method finds them.",
    )
    compare_encoders: bool = Field(
        True, title="Compare encoders", description="Held-out strength in the encoder's space and in the model's own."
    )
    map_points: int = Field(20_000, ge=100, le=50_000, title="Map points", description="Most points drawn on the map.")


class Rate(BaseModel):
    """A proportion with its evidence: k of n, 95 % Wilson interval."""

    k: int
    n: int
    value: float
    low: float
    high: float


class MistakenFor(BaseModel):
    """A class that a slice's wrong rows were predicted as."""

    class_index: int
    name: str
    n: int


class CaptionScore(BaseModel):
    """A caption of a slice and what its top-K confirm images say of it."""

    text: str
    z: float = Field(description="Score against the null caption bank, in its standard deviations; higher is harder.")
    evidence: float = Field(
        0.0, description="How much it explains of which fit rows fail here, in nats, less what chance would explain."
    )
    facet: str = ""
    top: dict[int, Rate] = Field(description="Error rate of the K confirm rows of the class that match it best, by K.")


class Cause(BaseModel):
    """A typed reason for a slice, with the number that speaks for it."""

    type: Literal["rare in training", "spurious correlation", "shift", "label noise", "ambiguous", "unknown"]
    value: float
    n: int
    sentence: str


class SliceMetrics(BaseModel):
    """`finding.metrics` of a slice; every rate is measured on confirm rows."""

    errors: Rate = Field(description="Error rate inside the slice.")
    rest: Rate = Field(description="Error rate in the rest of its class.")
    class_errors: Rate = Field(description="Error rate of the whole class.")
    p_value: float = Field(description="Exact one-sided test of slice against rest.")
    q_value: float = Field(description="Benjamini–Hochberg over all slices of the run.")
    prevalence: float = Field(description="Share of the class's confirm rows in the slice.")
    size: int = Field(description="Rows in the slice, fit and confirm.")
    missing: str = Field("", description="What would be enough evidence, when there is not enough.")
    mistaken_for: list[MistakenFor] = []
    same_as: str = Field("", description="Key of a slice that says the same: of its rows, of its name, or as a whole.")
    hard_rows: list[int] = Field(default=[], description="Confirm rows (positions in the split), hardest first.")
    easy_rows: list[int] = Field(default=[], description="Rows of the class on the easy side, easiest first.")
    captions: list[CaptionScore] = []
    causes: list[Cause] = []


class ClassSummary(BaseModel):
    """One class: its error rate and how consistent its failures are."""

    index: int
    name: str
    n: int
    errors: Rate = Field(description="Over all audited rows of the class.")
    fitted: bool
    reason: str = Field("", description="Why no direction was fitted, when none was.")
    strength: float | None = Field(None, description="Best cross-validated balanced accuracy of the direction.")
    strength_null_95: float | None = Field(None, description="95th percentile of the strength with errors shuffled.")
    strength_p: float | None = Field(None, description="Permutation p-value; its floor is 1 / (permutations + 1).")
    chosen_c: float | None = None
    slices: list[str] = Field(default=[], description="Keys of its findings, confirmed first.")
    hard_captions: list[CaptionScore] = []
    easy_captions: list[CaptionScore] = []


class MethodSummary(BaseModel):
    """One method on this data: what it found and how well it finds planted slices."""

    method: Method
    candidates: int
    confirmed: int
    precision_at_10: float | None = Field(None, description="Mean P@10 over planted slices (self-calibration).")
    precision_at_25: float | None = None
    average_precision: float | None = None
    planted: int = Field(0, description="Planted slices behind these means.")
    note: str = ""


class EncoderSummary(BaseModel):
    """Mean held-out strength over classes in one space."""

    encoder: str
    strength: float
    classes: int


class SlicesSummary(BaseModel):
    """`run.summary["slices"]`."""

    fit_rows: int
    confirm_rows: int
    fdr: float
    min_errors: int
    candidates: int
    confirmed: int
    classes: list[ClassSummary]
    methods: list[MethodSummary]
    encoders: list[EncoderSummary] = []
    captions_available: bool
    caption_bank: int = 0
    map_points: int = 0
    map_left_out: int = 0
    map_trustworthiness: float | None = None
    notes: list[str] = []


class HypothesisPayload(BaseModel):
    """A sentence, or picked rows, claimed to fail more often than the rest."""

    class_index: int | None = Field(None, title="Class", description="Leave empty for all classes.")
    sentence: str = Field("", max_length=300, title="Sentence", description="For example: at night")
    rows: list[int] = Field(default=[], title="Picked rows", description="Positions in the split.")
    share: float = Field(0.1, gt=0, le=0.5, title="Share", description="Share of the rows that count as in.")


class ClimbPayload(BaseModel):
    """Marks of the hill-climb loop."""

    class_index: int | None = None
    inside: list[int] = Field(min_length=1, max_length=400)
    outside: list[int] = Field(default=[], max_length=400)
    top: int = Field(60, ge=10, le=400)


class OverlapWith(BaseModel):
    """How far an answer meets a known slice."""

    key: str
    title: str
    share: float


class HypothesisAnswer(BaseModel):
    """Accuracy in and out on confirm rows; the adjusted p-value stands on the query row."""

    inside: Rate
    outside: Rate
    p_value: float
    rows: list[int]
    overlap: list[OverlapWith]
    sentence: str = ""


class ClimbAnswer(BaseModel):
    """Rows re-ranked by the marks, nearest first, marked rows left out."""

    rows: list[int]
    scores: list[float]


class RemeasurePayload(BaseModel):
    """A slice that people made, to be measured on confirm rows."""

    rows: list[int] = Field(min_length=1, description="Positions in the split.")
    class_index: int | None = None


class NeighboursPayload(BaseModel):
    """An image whose nearest neighbours are wanted."""

    position: int = Field(ge=0)
    class_index: int | None = Field(None, description="Images of this class only; of all where empty.")
    top: int = Field(12, ge=1, le=100)


class NeighboursAnswer(BaseModel):
    """The nearest images in the encoder's space, nearest first."""

    rows: list[int]
    scores: list[float] = Field(description="Cosine similarity of the standardised embeddings, in [−1, 1].")
    compared: int = Field(description="Images that were looked through: all of them, none left out.")
