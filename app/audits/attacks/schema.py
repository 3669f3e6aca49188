"""Parameters and results of the kind `attacks`. Imports no torch."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from app.audits.epsilon import Norm, checked, radius
from app.audits.pieces import Estimate

Budget = Literal["quick", "standard", "thorough"]
NAMES = ("APGD on cross-entropy", "targeted APGD", "targeted FAB", "Square")
"""The attacks in their order; arrays name them by place. Without gradients only the last one runs."""
FAB, SQUARE = 2, 3
PROVEN, WRONG, UNBROKEN = -3, -2, -1
"""In place of an attack."""
ARRAYS = ("outcome", "by", "margin", "taken", "signs")
"""What is known of each attacked image."""
SIGNS = ("no_gradient", "random", "probabilities", "survives")
"""Columns of the array `signs`."""


class Params(BaseModel):
    """What a person can set."""

    norm: Norm = Field(
        "Linf",
        title="Distance",
        description="Linf: no pixel value changes by more than ε. L2: the Euclidean length of the change is at most ε.",
    )
    radii: list[str] = Field(
        default_factory=lambda: ["8/255"],
        title="ε, one a line",
        description="How far an image may change, in pixel values from 0 to 1, before normalisation: a number or a "
        "fraction, up to five of them. Usual are 8/255 (CIFAR) and 4/255 (ImageNet) for Linf, 0.5 and 3 for L2.",
    )
    budget: Budget = Field(
        "quick",
        description="quick: 100 images drawn at random, APGD and three targets, 300 queries without gradients. "
        "standard: 500 images, AutoAttack’s standard ensemble. thorough: 2,000 images, the same with three starts.",
    )

    @field_validator("radii")
    @classmethod
    def _numbers(cls, given: list[str], info: ValidationInfo) -> list[str]:
        return checked(given, info.data.get("norm", "Linf"))


def unfit(params: Params, height: int, width: int) -> dict[str, str]:
    """Why an ε has no meaning for images of that size, and what would be right, by field."""
    farthest = 1.0 if params.norm == "Linf" else math.sqrt(3 * height * width)
    beyond = [text for text in params.radii if radius(text) > farthest]
    if not beyond:
        return {}
    return {
        "radii": f"ε = {beyond[0]} is beyond the range: no two images of {height} × {width} pixels are farther than "
        f"{farthest:.3g} from each other in {params.norm}, where pixels run from 0 to 1. Usual are 0.5 and 3."
    }


class Level(BaseModel):
    """All attacks at one ε."""

    text: str = Field(description="ε as it was written.")
    radius: float
    robust: Estimate = Field(description="Share of images that are right and stay so, with Wilson’s interval.")
    proven: int = Field(0, description="Images that are proven to withstand, and were spared the dear attacks.")
    broken_by: dict[str, int] = Field(description="Images that each attack was the first to break at this or less.")


class GroupRow(BaseModel):
    """Images that have something in common, at the largest ε."""

    name: str
    class_index: int | None = None
    clean: Estimate
    robust: Estimate


class Sign(BaseModel):
    """A reason for doubt, or for confidence, in the figure."""

    ok: bool
    title: str
    text: str = Field(description="What was seen, of how many images, and what would be right.")


class AttacksSummary(BaseModel):
    """What the attacks did."""

    unavailable: str = ""
    no_gradients: str = Field("", description="Why only the attack without gradients ran; empty where all did.")
    norm: Norm = "Linf"
    budget: Budget = "quick"
    rows: int = Field(0, description="Images that were attacked.")
    of_rows: int = Field(0, description="Images of the audited split that have a label.")
    clean: Estimate | None = None
    levels: list[Level] = Field([], description="By rising ε.")
    classes: list[GroupRow] = Field([], description="The classes that withstand least, at the largest ε.")
    of_classes: int = 0
    signs: list[Sign] = Field([], description="Trust: what speaks for and against the figure.")
