"""Maps of the places of a patch, and the curve over its sizes, as shapes for the page. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.patches.schema import GRID, PatchesSummary
from app.audits.patches.words import NAMES, SLUGS
from app.audits.pieces import Estimate

LEVELS = 10
WIDTH, HEIGHT, LEFT, BOTTOM, ASIDE = 560, 240, 60, 28, 40


class Shade(BaseModel):
    """Cells of one shade."""

    level: int = Field(description="0: safe, 10: not at all.")
    path: str = Field(description="SVG path; a cell is one unit wide.")


class PlaceMap(BaseModel):
    """Places of a patch, from flush with the upper left corner to flush with the lower right one."""

    cells: int = Field(description="Along each axis.")
    shades: list[Shade]
    safe: Estimate = Field(description="Share of the places where the prediction is safe; n counts places.")
    told: str = Field(description="The map in words.")


class Dot(BaseModel):
    """One size of one method."""

    x: float
    y: float
    low: float
    high: float
    told: str


class Curve(BaseModel):
    """One method over the sizes."""

    name: str
    slug: str
    path: str
    dots: list[Dot]


class Tick(BaseModel):
    """A mark on an axis."""

    at: float
    text: str


class Chart(BaseModel):
    """Certified share against the patch's side."""

    width: int
    height: int
    left: int
    bottom: int
    across: list[Tick]
    up: list[Tick]
    curves: list[Curve]


def place_map(harm: NDArray[Any], told: str) -> PlaceMap:
    """Shade places [12, 12] by how far each is from safe, 0 to 1."""
    levels = np.rint(LEVELS * harm).astype(np.int64)
    shades = [Shade(level=level, path=_cells(levels == level)) for level in np.unique(levels).tolist()]
    safe = Estimate(value=float(1 - harm.mean()), n=harm.size)
    return PlaceMap(cells=GRID, shades=shades, safe=safe, told=told)


def _cells(there: NDArray[np.bool_]) -> str:
    """Runs of cells in rows as one path."""
    found = []
    for row, line in enumerate(there):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
        found += [f"M{a} {row}h{b - a}v1h{a - b}z" for a, b in edges.reshape(-1, 2).tolist()]
    return "".join(found)


def chart(summary: PatchesSummary) -> Chart:
    """Lay out the curves of all methods."""
    first, last = summary.sizes[0].px, summary.sizes[-1].px
    room = WIDTH - LEFT - 2 * ASIDE
    xs = [round(LEFT + ASIDE + room * (size.px - first) / max(last - first, 1), 1) for size in summary.sizes]
    return Chart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        bottom=HEIGHT - BOTTOM,
        across=[Tick(at=x, text=f"{size.px} px") for x, size in zip(xs, summary.sizes, strict=True)],
        up=[Tick(at=_y(share), text=f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)],
        curves=[
            _curve(NAMES[row.method], SLUGS[row.method], xs, row.certified, [size.text for size in summary.sizes])
            for row in summary.methods
        ],
    )


def _curve(name: str, slug: str, xs: list[float], shares: list[Estimate], sizes: list[str]) -> Curve:
    dots = [
        Dot(
            x=x,
            y=_y(share.value),
            low=_y(share.low or 0.0),
            high=_y(share.high or 0.0),
            told=f"{name}, {size}: {100 * share.value:.1f} % certified, n {share.n:,}",
        )
        for x, share, size in zip(xs, shares, sizes, strict=True)
    ]
    return Curve(name=name, slug=slug, path="M" + "L".join(f"{dot.x} {dot.y}" for dot in dots), dots=dots)


def _y(share: float) -> float:
    return round(8 + (HEIGHT - BOTTOM - 8) * (1 - share), 1)
