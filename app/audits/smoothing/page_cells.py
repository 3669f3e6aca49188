"""“Certified at r?” under one noise: how many are, and which images are not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.drawn import share
from app.audits.pieces import Estimate, Link, Thumb
from app.audits.smoothing.figures import KIND, STAGE, Found, read
from app.audits.smoothing.schema import AskedRadius, SmoothingSummary
from app.audits.smoothing.words import title

SHOWN = 30


class Asked(BaseModel):
    """One radius under one noise."""

    radius: str
    certified: Estimate
    open: int = Field(description="Images that stayed open and count as not certified.")
    href: str = Field(description="Path of the page with its images.")


class CellSmoothing(BaseModel):
    """The images at one radius under one noise."""

    name: str
    radius: str
    certified: Estimate
    fell: int = Field(description="Images that are right without noise and are not certified here.")
    open: int
    copies: int
    others: list[Link] = Field(
        description="Other radii under this noise, and other noises and networks at this radius."
    )
    lost: list[Thumb] = Field(description="Images that fell, the least certain first.")
    held: list[Thumb] = Field(description="Certified images, the largest radius first.")


def asked_cells(asked: list[AskedRadius], variant: int, reader: RunReader) -> list[Asked]:
    """Every radius that was asked, with the way to its images."""
    return [
        Asked(radius=one.text, certified=one.certified, open=one.open, href=_page(variant, column, reader))
        for column, one in enumerate(asked, 1)
    ]


def cell_panel(subject: Subject, summary: SmoothingSummary, reader: RunReader) -> Panel | None:
    """Return the panel of a cell; none where the run did not measure it."""
    places = [(variant, column) for variant in range(len(summary.variants)) for column in _columns(summary)]
    keys = [f"{KIND}/{_key(*place)}" for place in places]
    if subject.key not in keys:
        return None
    variant, column = places[keys.index(subject.key)]
    found, positions = read(reader, variant), reader.array(KIND, STAGE, "positions")
    held, name = found.certified(column), title(summary.variants[variant])
    lost, kept = found.clean & ~held, _by_radius(found, held)[::-1][:SHOWN]
    context = CellSmoothing(
        name=name,
        radius=summary.radii[column - 1],
        certified=share(held),
        fell=int(lost.sum()),
        open=int(found.open(column).sum()),
        copies=int(found.used.sum()),
        others=[_link(summary, place, reader) for place in places if (place[0] == variant) != (place[1] == column)],
        lost=_thumbs(positions[_by_radius(found, lost)[:SHOWN]], reader),
        held=_thumbs(positions[kept], reader),
    )
    return Panel(KIND, f"Certified at r = {context.radius}? {name}", "smoothing/cell.html", context)


def extremes(summary: SmoothingSummary, reader: RunReader, count: int) -> tuple[list[Thumb], list[Thumb]]:
    """Images right without noise that are certified least, and most, under the variant that groups are shown for."""
    found, positions = read(reader, summary.first), reader.array(KIND, STAGE, "positions")
    far = _by_radius(found, found.right & ~found.abstained)[::-1]
    return _thumbs(positions[_by_radius(found, found.clean)[:count]], reader), _thumbs(positions[far[:count]], reader)


def _by_radius(found: Found, among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places of some images: those that are wrong or abstain first, then by radius and share of hits, else by chance.

    Rows are often sorted by class: by row, equals would all be of the first one.
    """
    places = np.random.default_rng(0).permutation(np.flatnonzero(among))
    radius = np.where(found.right, np.nan_to_num(found.radius, nan=-1.0), -2.0)
    hits = np.where(found.right, found.hits / np.maximum(found.used, 1), 0.0)
    order: NDArray[np.int64] = places[np.lexsort((hits[places], radius[places]))]
    return order


def _thumbs(positions: NDArray[np.int64], reader: RunReader) -> list[Thumb]:
    return [thumb for thumb in reader.thumbs(positions.tolist(), named=True) if thumb is not None]


def _columns(summary: SmoothingSummary) -> range:
    return range(1, len(summary.radii) + 1)


def _key(variant: int, column: int) -> str:
    return f"v{variant}-r{column}"


def _page(variant: int, column: int, reader: RunReader) -> str:
    return reader.link(Subject("cell", reader.run_id, key=f"{KIND}/{_key(variant, column)}"))


def _link(summary: SmoothingSummary, place: tuple[int, int], reader: RunReader) -> Link:
    variant, column = place
    text = f"r = {summary.radii[column - 1]}, {title(summary.variants[variant])}"
    return Link(text=text, href=_page(variant, column, reader))
