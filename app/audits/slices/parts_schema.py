"""What is asked and answered when a slice is to be split into parts."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PartsPayload(BaseModel):
    """A slice whose parts are wanted."""

    rows: list[int] = Field(min_length=2, max_length=100_000, description="Positions in the split, ascending.")
    finding_id: int


class Part(BaseModel):
    """One part of a proposed split; nothing here was learned from the outcome of a confirm image."""

    n: int
    fit: int = Field(description="Images that the split was made from.")
    confirm: int = Field(description="Images that would measure the part.")
    exemplars: list[int] = Field(description="Positions of the fit images nearest to its centre.")


class Proposal(BaseModel):
    """A split of the slice into parts, the largest first."""

    parts: list[Part]
    separation: float = Field(description="Simplified silhouette over fit images, in [0, 1]; 1 is best.")


class PartsAnswer(BaseModel):
    """All splits that the images allow; the arrays `labels_<k>` name the part of each row of the payload."""

    finding_id: int
    counts: list[int] = Field(description="Numbers of parts, ascending; one for each proposal.")
    proposals: list[Proposal]
    best: int = Field(description="The number of parts whose split is the clearest.")
