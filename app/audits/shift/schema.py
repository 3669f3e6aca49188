"""Parameters and results of the kind `shift`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field, field_validator

from app.audits.pieces import Estimate
from app.audits.splits import CHOICE, named_split

Budget = Literal["quick", "standard", "thorough"]
Line = Literal["none", "imagenetv2", "cifar10.1"]
"""Keys of `app.numerics.shift.published`."""
Verdict = Literal["none", "label", "covariate", "both"]
LEVEL = 0.05
"""Of every family of tests, after its correction."""


class Effort(NamedTuple):
    """What a budget buys."""

    rows: int
    """Images of each set that the two-sample tests compare."""
    of_class: int
    """Images of a class and set that are compared."""
    classes: int
    """Classes whose images are compared, those with most images first."""
    resamples: int
    """Of bootstrap intervals."""
    relabellings: int
    """Of the classifier two-sample test; MMD has 1,000 in every budget."""


EFFORTS: Mapping[Budget, Effort] = {
    "quick": Effort(500, 100, 50, 500, 100),
    "standard": Effort(1000, 200, 200, 1000, 200),
    "thorough": Effort(2000, 300, 1000, 2000, 500),
}


class Params(BaseModel):
    """What a person can set."""

    second: str = Field(
        "",
        title="Second data set",
        description="Images of the same classes from elsewhere, to be compared with the audited ones. Labels may "
        "be missing: a table with the paths alone is enough. As text: <data set id>/<split>.",
        json_schema_extra=dict(CHOICE),
    )
    budget: Budget = Field(
        "quick",
        description="All images are predicted. Two-sample tests compare up to 500 (quick), 1,000 (standard) or 2,000 "
        "(thorough) images of each set, 100, 200 or 300 of each of the 50, 200 or 1,000 largest classes; intervals "
        "rest on 500, 1,000 or 2,000 resamples.",
    )

    published: Line = Field(
        "none",
        title="Published line",
        description="Models that others measured, for effective robustness. Choose imagenetv2 where ImageNet's "
        "validation images are audited against ImageNetV2 (matched frequency), cifar10.1 where CIFAR-10's test images "
        "are audited against CIFAR-10.1; of other data a published line says nothing.",
    )

    @field_validator("second")
    @classmethod
    def _is_split(cls, given: str) -> str:
        if given and named_split(given) is None:
            raise ValueError("Name the second data set as <data set id>/<split>, such as 7/val")
        return given


class SetName(BaseModel):
    """One of the two sets."""

    dataset_id: int = 0
    name: str = Field(description="Data set and split.")
    split: str = ""
    rows: int = Field(description="Images that the model judged.")
    left_out: int = Field(0, description="Images without an output of the model: not readable, or not in the table.")
    labelled: int


class Changed(BaseModel):
    """A share in both sets: second less first, by how much and how surely."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p_value: float | None = Field(None, description="Fisher's exact test; none where one of the sets has no rows.")
    q_value: float | None = Field(None, description="Adjusted over its table (Benjamini, Hochberg).")

    @property
    def moved(self) -> bool:
        """Whether the share moved by more than chance, its table's other rows considered."""
        return self.q_value is not None and self.q_value <= LEVEL


class GroupShift(BaseModel):
    """A class, a slice or a value of a column: how frequent it is, and how often the model is right there."""

    key: str = Field(description="How the address of its page ends.")
    name: str
    class_index: int | None = None
    prevalence: Changed
    accuracy: Changed | None = Field(description="None where the second set has no labels.")
    agreement: float | None = Field(None, description="Of a slice: how much the rule and the slice itself overlap.")


class Parts(BaseModel):
    """What the change of accuracy is made of."""

    label: Estimate
    within: Estimate
    left_out: int = Field(description="Images of the second set whose class the audited one lacks.")


class ClassShare(BaseModel):
    """How frequent a class is in the second set, from predictions alone."""

    name: str
    class_index: int
    first: float
    second: Estimate


class Shares(BaseModel):
    """Black-box shift estimation."""

    p_value: float
    near_singular: bool
    classes: list[ClassShare] = Field(description="Those that changed most.")


class Tested(BaseModel):
    """How an estimate without labels does on parts of the audited set whose truth is known."""

    name: str
    parts: int
    error: float = Field(description="Mean of |estimated − actual| accuracy.")
    worst: float
    by_chance: float = Field(description="What the mean would be if only the drawing of the parts' rows differed.")
    plain: float = Field(description="What it would be if every part had the other rows' accuracy.")


class Unlabelled(BaseModel):
    """Accuracy on the second set, estimated without its labels."""

    estimate: Estimate = Field(description="Average thresholded confidence.")
    by_confidence: Estimate = Field(description="Audited accuracy less the fall of mean confidence.")
    error: float | None = Field(None, description="Estimated less actual accuracy, where the labels are known.")
    tests: list[Tested]


class AccuracyPart(BaseModel):
    """Accuracy of both sets."""

    change: Changed | None = None
    classes: list[GroupShift] = []
    parts: Parts | None = None
    label_p: float | None = Field(None, description="That the classes' shares are the same.")
    harder_p: float | None = Field(None, description="That the model is equally often right within classes.")
    shares: Shares | None = None
    no_shares: str = ""
    unlabelled: Unlabelled | None = None
    no_estimate: str = ""


class GroupsPart(BaseModel):
    """Slices and columns."""

    slices: list[GroupShift] = []
    no_slices: str = ""
    not_placed: int = Field(0, description="Slices that the rule does not find again among the held-out images.")
    values: list[GroupShift] = []
    no_values: str = ""
    columns: list[str] = []


class TwoSample(BaseModel):
    """Whether two sets of embeddings come from one distribution."""

    name: str
    value: Estimate
    p_value: float
    holm: float
    null_95: float | None = None
    auc: float | None = Field(None, description="Of the classifier: area under the curve, which its p-value is of.")
    n: tuple[int, int]


class ClassImages(BaseModel):
    """Whether the images of a class changed."""

    name: str
    class_index: int
    n: tuple[int, int]
    p_value: float
    holm: float
    told_apart: Estimate = Field(description="Balanced share of its held-out images whose set is recognised.")


class SpacePart(BaseModel):
    """Both sets in embedding space."""

    unavailable: str = ""
    tests: list[TwoSample] = []
    classes: list[ClassImages] = []
    of_classes: int = 0
    permutations: int = 0
    by_prediction: bool = Field(False, description="Classes are the model's, since the second set has no labels.")
    images_p: float | None = Field(None, description="That no tested class's images changed, of all together.")
    verdict: Verdict | None = None


class ShiftSummary(BaseModel):
    """How the second set differs."""

    unavailable: str = ""
    budget: Budget = "quick"
    published: Line = "none"
    first: SetName | None = None
    second: SetName | None = None
    notes: list[str] = Field([], description="How the second set's classes were matched.")
    doubts: list[str] = Field([], description="Why the comparison is worth less than it looks.")
    accuracy: AccuracyPart = AccuracyPart()
    groups: GroupsPart = GroupsPart()
    space: SpacePart = SpacePart()
