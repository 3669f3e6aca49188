"""Parameters and results of the kind `smoothing`. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from app.audits.epsilon import number, once
from app.audits.pieces import Estimate
from app.audits.smoothing.reach import Budget, reach

MOST_SIGMAS, MOST_RADII = 3, 5
LARGEST_SIGMA = 2.0
ARRAYS = ("taken", "base", "radius", "decided", "hits", "used", "noisy")
"""What is known of each image and variant: see `measure.judged`."""


class Params(BaseModel):
    """What a person can set."""

    sigmas: list[str] = Field(
        default_factory=lambda: ["0.25"],
        title="σ of the noise, one a line",
        description="Standard deviation of the Gaussian noise, in pixel values from 0 to 1, before normalisation: one "
        "to three numbers or fractions. Usual are 0.12, 0.25, 0.5 and 1; a larger one reaches farther and is right "
        "less often.",
    )
    alpha: float = Field(
        0.001,
        gt=0,
        lt=0.5,
        title="α",
        description="Probability, at most, that an image’s certificate is wrong because of the noise that was drawn.",
    )
    budget: Budget = Field(
        "quick",
        description="quick: 100 images drawn at random, asked at the radii below with as few noisy copies as that "
        "takes, at most 2,000. standard: 200 images, 10,000 copies of each, every radius. thorough: 500 images, "
        "100,000 copies, as in the published tables.",
    )
    radii: list[str] = Field(
        default_factory=lambda: ["0.1", "0.25", "0.5"],
        validate_default=True,
        title="Radii to ask, one a line",
        description="“Does the answer stay the same for every change of Euclidean length up to r?” One to five numbers "
        "or fractions, in pixel values from 0 to 1. Usual are 0.25, 0.5, 0.75 and 1.",
    )
    train_copy: int = Field(
        0,
        ge=0,
        le=1,
        title="Train a copy with noise",
        description="1: train the architecture anew for each σ by the version’s recipe, with that noise on every "
        "training image, and certify this copy too. 0: do not.",
    )

    @field_validator("sigmas")
    @classmethod
    def _noise(cls, given: list[str]) -> list[str]:
        texts = _checked(given, "σ", MOST_SIGMAS)
        if amount(texts[-1]) > LARGEST_SIGMA:
            raise ValueError(
                f"σ = {texts[-1]} is beyond the range: pixels run from 0 to 1 here, not to 255, and nothing is left of "
                f"an image at σ > {LARGEST_SIGMA:g}. If you meant steps of 1/255, write {texts[-1]}/255"
            )
        return texts

    @field_validator("radii")
    @classmethod
    def _asked(cls, given: list[str], info: ValidationInfo) -> list[str]:
        texts = _checked(given, "radius", MOST_RADII)
        if not {"sigmas", "alpha", "budget"} <= set(info.data):
            return texts
        sigma, alpha, budget = info.data["sigmas"][-1], info.data["alpha"], info.data["budget"]
        most = reach(budget, alpha, amount(sigma))
        if amount(texts[-1]) > most:
            raise ValueError(
                f"r = {texts[-1]} can be certified for no image: with σ = {sigma}, α = {alpha:g} and the budget "
                f"“{budget}” the largest radius is {most:.3g}. Ask for smaller radii, or give a larger σ"
            )
        return texts


def _checked(given: Sequence[str], name: str, most: int) -> list[str]:
    """Each number once, by rising value, as it was written."""
    texts = [text.strip() for text in given if text.strip()]
    if not 1 <= len(texts) <= most:
        raise ValueError(f"give one to {most} values of {name}, such as 0.25; there are {len(texts)}")
    for text in texts:
        try:
            positive = amount(text) > 0
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError(f"“{text}” is no number or fraction; write {name} like 0.25 or 64/255") from error
        if not positive:
            raise ValueError(f"{name} {text} is not positive; write {name} like 0.25 or 64/255")
    return once(texts)


def amount(text: str) -> float:
    """A number or fraction such as 0.25 or 64/255, which was checked before."""
    return number(text)


class CurvePoint(BaseModel):
    """One radius."""

    radius: float
    certified: Estimate = Field(description="Share that is right and certified at this radius, with Wilson’s interval.")


class AskedRadius(BaseModel):
    """One of the radii that were asked."""

    text: str
    certified: Estimate
    open: int = Field(description="Images of which it stayed open, that is counted as not certified.")


class Variant(BaseModel):
    """A network under one noise."""

    sigma: str
    copied: bool = Field(description="Whether it is the copy that was trained with this noise.")
    reach: float = Field(description="The largest radius that the number of copies and α can certify at all.")
    base: Estimate = Field(description="Share that is right without noise and without smoothing.")
    noisy: Estimate = Field(description="Share of noisy copies that the unsmoothed network gets right.")
    smoothed: Estimate = Field(description="Share of images that the smoothed network gets right without abstaining.")
    abstained: Estimate
    asked: list[AskedRadius]
    curve: list[CurvePoint]
    mean_copies: float = Field(description="Noisy copies an image, those that choose the class included.")


class GroupRow(BaseModel):
    """Images that have something in common, under the variant that is named first."""

    name: str
    class_index: int | None = None
    base: Estimate
    smoothed: Estimate
    certified: Estimate = Field(description="At the middle one of the radii that were asked.")


class SmoothingSummary(BaseModel):
    """What smoothing certified."""

    unavailable: str = ""
    budget: Budget = "quick"
    alpha: float = 0.001
    radii: list[str] = []
    rows: int = Field(0, description="Images that were certified or not.")
    of_rows: int = Field(0, description="Images of the audited split that have a label.")
    variants: list[Variant] = Field([], description="The uploaded network under each noise, then its copies.")
    first: int = Field(0, description="Place of the uploaded network’s variant that groups are shown for.")
    classes: list[GroupRow] = Field([], description="The classes that are certified least.")
    of_classes: int = 0
    no_copy: str = Field("", description="Why no copy was trained though it was asked for.")
    leaves_out: str = ""
