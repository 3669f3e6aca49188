"""The map: every drawn image at its place in two dimensions."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.base import Panel, RunReader, Subject
from app.audits.slices.schema import SlicesSummary

MOST_SLICES = 200
"""The map gives each slice one byte and a colour; those after these are drawn as the rest."""


class EmbeddingMap(BaseModel):
    """Where the map's points are, and what is left out of it."""

    data_href: str = Field(description="Path of the points; `app.web.pages.results_points` says how they are packed.")
    images_href: str = Field(description="Path of an image's page without its row.")
    thumbs_href: str = Field(description="Path of a thumbnail without its row.")
    picked_href: str = Field(description="Path that shows picked images and saves them as a slice.")
    classes: list[str]
    slices: list[str] = Field(description="Titles of the slices; a point's number counts from 1 through them.")
    points: int
    left_out: int
    trustworthiness: float | None = Field(description="Share of near neighbours that the flat map keeps; 1 is best.")


def map_panels(subject: Subject, reader: RunReader) -> list[Panel]:
    """Return the map, when the run drew one."""
    summary = SlicesSummary.model_validate(reader.summary("slices"))
    home = reader.link(Subject("run", reader.run_id))
    if not summary.map_points or not home:
        return []
    drawn = EmbeddingMap(
        data_href=f"{home}/map/points.bin",
        images_href=f"{home}/images/",
        thumbs_href=f"/datasets/{reader.dataset_id}/thumbs/",
        picked_href=f"{home}/picked",
        classes=list(reader.classes),
        slices=[finding.title for finding in reader.findings("slices", subject="slice", limit=MOST_SLICES)],
        points=summary.map_points,
        left_out=summary.map_left_out,
        trustworthiness=summary.map_trustworthiness,
    )
    return [Panel("slices-map", "Map", "slices/map.html", drawn, 10)]
