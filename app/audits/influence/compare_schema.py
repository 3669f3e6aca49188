"""What is asked and answered when two runs are compared. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.audits.influence.schema import Method


class ComparePayload(BaseModel):
    """A second run on the same data."""

    other_run_id: int


class Direction(BaseModel):
    """A way of leaning on training data; images are named by data set row, the strongest first."""

    own: float = Field(description="Mean share of a prediction's attribution along it, in the run that leans on it.")
    other: float = Field(description="The same in the run that it is compared with.")
    low: float | None = Field(None, description="Lower end of the 95 % interval of `own` less `other`.")
    high: float | None = Field(None, description="Upper end of it.")
    n: int = Field(
        0, description="Audited images that these are over; none of them had a part in finding the direction."
    )
    train_high: list[int]
    train_low: list[int]
    audited_high: list[int]
    audited_low: list[int]


class CompareAnswer(BaseModel):
    """How two runs' models differ in the training data that they lean on."""

    other_run_id: int
    method: Method
    targets: int
    of_targets: int
    similarity: float = Field(description="Mean cosine of the two models' attributions of the same image.")
    low: float
    high: float
    own: list[Direction] = Field(description="What this run's model leans on and the other's does not.")
    others: list[Direction] = Field(description="What the other run's model leans on and this one's does not.")
