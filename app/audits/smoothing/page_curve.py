"""Certified accuracy against radius, as places on a drawing that the server writes. Imports no torch."""

from __future__ import annotations

import math
from itertools import pairwise

from pydantic import BaseModel, Field

from app.audits.pieces import Estimate
from app.audits.smoothing.schema import CurvePoint, SmoothingSummary, Variant
from app.audits.smoothing.words import title

WIDTH, HEIGHT = 600, 240
"""Of the frame, in the drawing's own units; labels lie outside."""
_STEPS = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0)


class Dot(BaseModel):
    """A measured radius."""

    x: float
    y: float
    low: float
    high: float
    radius: str
    certified: Estimate


class Curve(BaseModel):
    """One network under one noise."""

    name: str
    tone: int = Field(description="Which of the colours.")
    copied: bool = Field(description="Drawn dashed.")
    line: str = Field(description="Points of the polyline: between two radii the larger one's share is what is known.")
    dots: list[Dot]
    reach: float = Field(description="Where nothing can be certified any more, however sure the network is.")
    reach_text: str


class Tick(BaseModel):
    """A label at an axis."""

    at: float
    text: str


class Chart(BaseModel):
    """The curves of all variants."""

    width: int = WIDTH
    height: int = HEIGHT
    across: list[Tick]
    up: list[Tick]
    curves: list[Curve]


def chart(summary: SmoothingSummary) -> Chart:
    """Every variant's certified accuracy by radius."""
    most = 1.04 * max(variant.reach for variant in summary.variants)
    step = next((step for step in _STEPS if most / step <= 8), _STEPS[-1])
    noises = list(dict.fromkeys(variant.sigma for variant in summary.variants))
    return Chart(
        across=[Tick(at=_x(i * step, most), text=f"{i * step:g}") for i in range(math.floor(most / step) + 1)],
        up=[Tick(at=_y(share), text=f"{share:.0%}".replace("%", " %")) for share in (0, 0.25, 0.5, 0.75, 1)],
        curves=[_curve(variant, noises.index(variant.sigma), most) for variant in summary.variants],
    )


def _curve(variant: Variant, tone: int, most: float) -> Curve:
    dots = [
        Dot(
            x=_x(point.radius, most),
            y=_y(point.certified.value),
            low=_y(point.certified.low or 0.0),
            high=_y(1.0 if point.certified.high is None else point.certified.high),
            radius=f"{point.radius:.3g}",
            certified=point.certified,
        )
        for point in _until_nothing(variant)
    ]
    corners = [(dots[0].x, dots[0].y)]
    for before, after in pairwise(dots):
        corners += [(before.x, after.y), (after.x, after.y)]
    return Curve(
        name=title(variant),
        tone=tone,
        copied=variant.copied,
        line=" ".join(f"{x:g},{y:g}" for x, y in corners),
        dots=dots,
        reach=_x(variant.reach, most),
        reach_text=f"{variant.reach:.3g}",
    )


def _until_nothing(variant: Variant) -> list[CurvePoint]:
    """The points up to the first radius at which nothing is certified."""
    last = next((i for i, point in enumerate(variant.curve) if not point.certified.value), len(variant.curve))
    return variant.curve[: last + 1]


def _x(radius: float, most: float) -> float:
    return round(WIDTH * radius / most, 1)


def _y(share: float) -> float:
    return round(HEIGHT * (1 - share), 1)
