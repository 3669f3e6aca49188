"""Pieces that panels and pages are made of; each is drawn by the macro of the same name in `_macros/data.html`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field


class Estimate(BaseModel):
    """A number with its interval and its n; drawn by the macro `interval`."""

    value: float = Field(description="The estimate.")
    low: float | None = Field(None, description="Lower end of the 95 % interval.")
    high: float | None = Field(None, description="Upper end of the 95 % interval.")
    n: int = Field(description="How many examples it rests on.")


class Thumb(BaseModel):
    """A picture in a grid; drawn by the macro `thumb`."""

    src: str = Field(description="Path of the thumbnail, or a data: URI.")
    alt: str = Field(description="What a reader who does not see it is told.")
    href: str = Field("", description="Path of the image's page.")
    text: str = Field("", description="Line below the picture.")
    wrong: bool | None = Field(None, description="Whether the model is wrong on it; none: nothing is marked.")


class SliceCard(BaseModel):
    """A slice as every page and the report show it; drawn by the macro `slice_card`."""

    id: int
    title: str = Field(description="Its caption in words, or the name somebody gave it.")
    class_name: str
    href: str = Field("", description="Path of the slice's page; empty in a report.")
    evidence: Literal["confirmed", "insufficient"]
    verdict: Literal["", "accept", "reject", "unsure"] = ""
    error: Estimate | None = Field(description="Error rate on the slice's confirm rows; none until it is measured.")
    class_error: Estimate | None = Field(None, description="Error rate of the whole class.")
    note: str = Field("", description="One sentence: what it is mistaken for, or what would be enough evidence.")
    thumbs: list[Thumb] = Field(default_factory=list, description="Six hard examples.")
    tags: list[str] = Field(default_factory=list, description="Words that people put on it.")
    assignee: str = Field("", description="Name of who is to look at it; empty in a report.")


class Marks(NamedTuple):
    """What people hung on a slice."""

    tags: list[str]
    assignee: str


class Headline(BaseModel):
    """What one stress test comes to, in a line of the report card."""

    title: str = Field(description="Of the test, such as “Adversarial attacks”.")
    text: str = Field(description="What the figure is, in words: “stay right at every change of up to 8/255”.")
    estimate: Estimate | None = Field(None, description="None where nothing could be measured; `text` says why.")
    good: bool = Field(True, description="Whether a higher figure is better.")
    leaves_out: str = Field("", description="What the chosen budget did not do.")
    doubt: str = Field("", description="The first reason not to believe the figure; empty where there is none.")


class OtherRun(NamedTuple):
    """A finished run of another model version of the project."""

    run_id: int
    version_id: int
    model: str
    """The model's name and version."""
    summary: Mapping[str, Any]
    """{kind: its summary} and “card”, the report card's."""


class GroupFigure(BaseModel):
    """A class or slice in one column of the robustness page's table."""

    estimate: Estimate
    worse: bool = Field(False, description="Worse than chance explains, every group of the column considered.")
    href: str = Field("", description="Path of its images where the score table does not lead there.")


class GroupColumn(BaseModel):
    """One figure of a stress test for all classes and slices: a column of the robustness page's table."""

    key: str = Field(description="Unique among the kind's columns.")
    title: str = Field(description="The figure in a few words: “right under attack, L∞ 8/255”.")
    overall: Estimate = Field(description="The figure of all images that were measured.")
    good: bool = Field(True, description="Whether a higher figure is better.")
    unit: str = Field("%", description="% for shares; else decimals of a number, as in “2”.")
    score: str = Field("", description="Column of the score table that puts the images in order, the worst first.")
    classes: dict[int, GroupFigure] = Field(default_factory=dict, description="By index of the class.")
    slices: dict[int, GroupFigure] = Field(default_factory=dict, description="By id of the finding.")


class MethodText(BaseModel):
    """What a page says of a method that scores training images."""

    title: str
    scale: str
    """What its scores mean."""


class Link(BaseModel):
    """A named way to another page."""

    text: str
    href: str


def whisker_scale(shown: Sequence[SliceCard]) -> tuple[float, float]:
    """From 0 to the next tenth above the highest whisker, so that cards compare at a glance."""
    return common_scale([card.error for card in shown if card.error])


def common_scale(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """From 0 to the next tenth above the highest whisker of a list."""
    highs = [estimate.high or estimate.value for estimate in estimates]
    return 0.0, min(1.0, math.ceil(10 * max(highs, default=1.0)) / 10)
