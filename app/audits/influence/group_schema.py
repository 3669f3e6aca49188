"""What is asked and answered about the training images behind a slice. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.influence.schema import Method


class GroupPayload(BaseModel):
    """A slice whose training images are wanted."""

    rows: list[int] = Field(min_length=1, max_length=100_000, description="Positions in the audited split.")
    finding_id: int


class Scored(BaseModel):
    """A training image and its mean score over the slice."""

    row: int = Field(description="Data set row.")
    label: int = Field(description="−1: none.")
    score: float


class GroupEnds(BaseModel):
    """A method's two ends for a slice."""

    method: Method
    asked: int = Field(description="Members that the mean is over; fewer than all where a method cannot sum at once.")
    shared: tuple[int, int] | None = Field(
        None, description="Most helpful and most harmful images that either half of the evidence names; see Stability."
    )
    helpful: list[Scored] = Field(description="Most helpful first; positive scores only.")
    harmful: list[Scored] = Field(description="Most harmful first; negative scores only.")


class GroupAnswer(BaseModel):
    """The training images behind a slice, by every method that the run allows."""

    finding_id: int
    members: int
    methods: list[GroupEnds]
