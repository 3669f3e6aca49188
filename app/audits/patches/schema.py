"""Parameters and results of the kind `patches`. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import BaseModel, Field, field_validator

from app.audits.pieces import Estimate

Budget = Literal["quick", "standard", "thorough"]
Method = Literal["two masks", "columns", "blocks", "smoothed ViT"]
Fill = Literal["mean of the normalisation", "grey", "black"]
METHODS: tuple[Method, ...] = get_args(Method)
"""Arrays name them by place."""
MOST_SIZES = 8
GRID = 12
"""Places of a patch along each axis in a map, evenly from one edge to the other."""
SCORE = "patch_certified"
"""Column of the score table."""
NOT_RUN = -1
UNKNOWN = -32768
"""In a map: this method did not run."""
_ROUNDING = 1e-9
"""By how much a square's side may miss a whole number by rounding alone."""


class Params(BaseModel):
    """What a person can set."""

    sizes: list[str] = Field(
        default_factory=lambda: ["1 %", "2 %", "3 %", "5 %"],
        title="Patch sizes, one a line",
        description="Of a square patch: a share of the image's area, such as 2 %, or its side in pixels, such as 5 px. "
        "Published for ImageNet are 1, 2 and 3 %, for CIFAR-10 2.4 % (5 px).",
    )
    methods: list[Method] = Field(
        default_factory=lambda: list(METHODS),
        min_length=1,
        description="two masks takes any classifier as it is. The others let bands or blocks of the image vote and are "
        "meant for networks that were trained on such pieces; smoothed ViT takes vit_… and deit_… of timm.",
    )
    budget: Budget = Field(
        "quick",
        description="quick: 100 images, up to 3 × 3 masks, 32 columns, no blocks. standard: 500 images, up to 6 × 6 "
        "masks, 64 columns, 16 × 16 blocks. thorough: 2,000 images, every column, 32 × 32 blocks.",
    )
    band: int = Field(
        0, ge=0, le=4096,
        title="Width of a band, px",
        description="Pixels that a column keeps, or the side of a block. 0: 4 up to 64 pixels, above it what 25 of 224 "
        "are (19 for smoothed ViT), as published.",
    )  # fmt: skip
    stride: int = Field(
        0, ge=0, le=4096,
        title="Pixels from band to band",
        description="0: as few as the budget's number of columns or blocks allows. More votes cost more.",
    )  # fmt: skip
    threshold: float = Field(
        0.2, ge=0, lt=1,
        description="Softmax from which a class gets a band's vote; several or none may. 0: the largest alone, always.",
    )  # fmt: skip
    fill: Fill = Field(
        "mean of the normalisation",
        title="What hidden pixels become",
        description="The value that normalisation turns into zero, mid-grey, or black.",
    )

    @field_validator("sizes")
    @classmethod
    def _readable(cls, given: list[str]) -> list[str]:
        texts = [text.strip() for text in given if text.strip()]
        if not 1 <= len(texts) <= MOST_SIZES:
            raise ValueError(f"give one to {MOST_SIZES} patch sizes, such as 2 % or 5 px; there are {len(texts)}")
        for text in texts:
            _read(text)
        return list(dict.fromkeys(texts))

    @field_validator("methods")
    @classmethod
    def _in_order(cls, given: list[Method]) -> list[Method]:
        return [method for method in METHODS if method in given]


def side(text: str, height: int, width: int) -> int:
    """The side in pixels that a size means for such images.

    A share of the area is that of the smallest square which is no smaller: 2 % of 224 × 224 is 32 px, 2.4 % of 32 × 32
    is 5 px.
    """
    value, unit = _read(text)
    return int(value) if unit == "px" else max(1, math.ceil(math.sqrt(value / 100 * height * width) - _ROUNDING))


def sides(sizes: Sequence[str], height: int, width: int) -> list[tuple[str, int]]:
    """Each size with its side, by rising side; of those that come to the same side the first."""
    found: dict[int, str] = {}
    for text in sizes:
        found.setdefault(side(text, height, width), text)
    return [(found[px], px) for px in sorted(found)]


def unfit(params: Params, height: int, width: int) -> dict[str, str]:
    """Why such images cannot be tested with these parameters, and what would be right, by field."""
    short, found = min(height, width), {}
    large = [f"{text} ({px} × {px} px)" for text, px in sides(params.sizes, height, width) if px > short]
    if large:
        found["sizes"] = (
            f"A patch of {' and of '.join(large)} does not fit into the {height} × {width} pixels that this model "
            f"takes: give sides of at most {short} px; 1, 2 and 3 % of the area are usual."
        )
    if params.band > short:
        found["band"] = (
            f"A band of {params.band} px does not fit into the {height} × {width} pixels that this model takes: give "
            f"at most {short}, or 0 for the published width."
        )
    return found


def _read(text: str) -> tuple[float, Literal["px", "%"]]:
    unit: Literal["px", "%"] = "px" if text.lower().endswith("px") else "%"
    number = text.lower().removesuffix("px").removesuffix("%").strip().replace(",", ".")
    try:
        value = float(number)
    except ValueError as error:
        raise ValueError(f"“{text}” is no patch size; write 2 % (of the area) or 5 px (the side)") from error
    if text.strip() == number or not math.isfinite(value):
        raise ValueError(f"“{text}” names no unit; write {number} % (of the area) or {number} px (the side)")
    if unit == "px" and (value < 1 or value != int(value)):
        raise ValueError(f"a side of {text} is no whole number of pixels; write a number such as 5 px")
    if unit == "%" and not 0 < value <= 100:
        raise ValueError(f"{text} of the area is no share; write a number above 0, such as 2 %")
    return value, unit


class PatchSize(BaseModel):
    """One size of patch."""

    text: str = Field(description="As it was written.")
    px: int = Field(description="Side of the square in pixels that the network gets.")


class MethodRow(BaseModel):
    """One method at every size."""

    method: Method
    settings: str = Field(description="Width, stride and threshold, or the number of masks, in words.")
    passes: float = Field(description="Images that the network was shown for each audited one, on average.")
    defended: list[Estimate] = Field(description="Share that the defended model gets right unchanged, at each size.")
    certified: list[Estimate] = Field(description="Share that it gets right whatever a patch of that size shows.")
    votes: Estimate | None = Field(None, description="Mean share of an image's bands that vote for its label.")


class GroupRow(BaseModel):
    """Images that have something in common, by the leading method at the middle size."""

    name: str
    class_index: int | None = None
    clean: Estimate
    certified: Estimate


class PatchesSummary(BaseModel):
    """What is certified against patches."""

    unavailable: str = ""
    budget: Budget = "quick"
    rows: int = Field(0, description="Images that were tested.")
    of_rows: int = Field(0, description="Images of the audited split that have a label.")
    height: int = 0
    width: int = 0
    fill: Fill = "mean of the normalisation"
    sizes: list[PatchSize] = Field([], description="By rising side.")
    clean: Estimate | None = None
    methods: list[MethodRow] = Field([], description="Those that ran; the first leads, whatever it found.")
    left_out: dict[Method, str] = Field({}, description="Methods that were asked for and did not run, and why.")
    doubts: list[str] = Field([], description="Reasons not to believe the figures, in sentences.")
    mapped: int = Field(0, description="Images of which maps are kept.")
    classes: list[GroupRow] = Field([], description="The classes of which least is certified.")
    of_classes: int = 0

    @property
    def middle(self) -> int:
        """Place of the size that stands for all in one figure."""
        return (len(self.sizes) - 1) // 2
