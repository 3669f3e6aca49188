"""Parameters and results of the kind `corruptions`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, field_validator

from app.audits.pieces import Estimate

Budget = Literal["quick", "standard", "thorough"]
FamilyChoice = Literal["by image size", "imagenet-c", "cifar-c"]
Kind = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
]
Severity = Literal["1", "2", "3", "4", "5"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

ROWS: Mapping[Budget, int] = {"quick": 200, "standard": 2000, "thorough": 20_000}
"""Images that a budget corrupts, drawn at random."""
SMALL = 64
"""Longest side, in pixels, up to which CIFAR-C's parameters are taken."""
LEAST_SIDE = 8
"""Pixels; below it blurs and fog have nothing to work on."""


class Params(BaseModel):
    """What a person can set."""

    budget: Budget = Field(
        "quick",
        description="Images drawn at random: quick 200, standard 2,000, thorough 20,000. All chosen kinds and "
        "severities are applied to each of them.",
    )
    family: FamilyChoice = Field(
        "by image size",
        description="Whose parameters: CIFAR-C's are for small images (up to 64 pixels), ImageNet-C's for larger ones.",
    )
    kinds: list[Kind] = Field(
        default_factory=lambda: list(KINDS),
        min_length=1,
        description="The first fifteen make up the mean corruption error; the last four were published beside them.",
    )
    severities: list[Severity] = Field(
        default_factory=lambda: list(SEVERITIES),
        min_length=1,
        description="From 1, slight, to 5, strong.",
    )

    @field_validator("kinds", "severities")
    @classmethod
    def _in_order(cls, given: list[str]) -> list[str]:
        order: list[str] = [*KINDS, *SEVERITIES]
        return sorted(set(given), key=order.index)


def cells(params: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Every (kind, severity) that is measured; column 0 of the arrays is the clean image, these are 1, 2, …"""
    return [(kind, int(severity)) for kind in params["kinds"] for severity in params["severities"]]


def passes(params: Params, rows: int) -> int:
    """Images that the network is shown: each that is drawn clean and in every cell."""
    return min(rows, ROWS[params.budget]) * (1 + len(params.kinds) * len(params.severities))


def unfit(params: Params, height: int, width: int) -> dict[str, str]:
    """Why images of that size cannot be corrupted, by field."""
    if min(height, width) >= LEAST_SIDE:
        return {}
    return {
        "kinds": f"This model takes images of {height} × {width} pixels; corruptions need at least {LEAST_SIDE} × "
        f"{LEAST_SIDE}. Choose other stress tests for it."
    }


def cell_key(kind: str, severity: int) -> str:
    """How a page's address names a cell."""
    return f"{kind}-{severity}"


class KindRow(BaseModel):
    """One kind of corruption over its severities; shares of right predictions."""

    kind: str
    cells: list[Estimate] = Field(description="Accuracy at each severity, with Wilson's interval.")
    error: float = Field(description="Mean error over the severities.")
    alexnet: float | None = Field(description="Error relative to AlexNet's; only for ImageNet's classes.")


class GroupRow(BaseModel):
    """Images that have something in common: accuracy clean, and mean accuracy over all measured cells."""

    name: str
    class_index: int | None = None
    clean: Estimate
    corrupted: Estimate


class CorruptionsSummary(BaseModel):
    """What the corruptions did."""

    unavailable: str = ""
    family: str = ""
    budget: str = ""
    severities: list[int] = []
    rows: int = Field(0, description="Images that were corrupted.")
    of_rows: int = Field(0, description="Images of the audited split that have a label.")
    clean: Estimate | None = None
    kinds: list[KindRow] = []
    mean_error: Estimate | None = Field(
        None,
        description="Mean error over the fifteen kinds (those that were asked for) and severities, not normalised.",
    )
    fall: Estimate | None = Field(None, description="How much more often a corrupted image is wrong than a clean one.")
    alexnet: float | None = Field(
        None, description="Mean corruption error as published, relative to AlexNet's; none where it has no meaning."
    )
    classes: list[GroupRow] = Field([], description="The classes that lose most accuracy.")
    of_classes: int = 0
    groups: list[GroupRow] = Field([], description="Values of the data set's own columns that lose most.")
    of_groups: int = 0
