"""The record of a model's versions: what audits measured of them, and what people decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.audits.pieces import Estimate
from app.store.models import ModelVersion
from app.store.repositories import decisions, registry


class AccuracyRow(BaseModel):
    """The accuracy that the newest finished run of a version on a data set's split measured."""

    version: int
    run_id: int
    run: str
    dataset: str
    split: str
    accuracy: Estimate | None
    created_at: datetime


class DecisionRow(BaseModel):
    """Something that a person decided about a version."""

    version: int
    decision: str = Field(description="approved or retired.")
    note: str
    user: str
    at: datetime


def accuracies(session: Session, versions: Sequence[ModelVersion]) -> list[AccuracyRow]:
    """Return what was measured, newest version first; of runs on the same data the newest counts."""
    found: dict[tuple[int, int, str], AccuracyRow] = {}
    for version in versions:
        for run, dataset in registry.audited(session, version.id):
            figure = run.summary.get("card", {}).get("accuracy")
            row = AccuracyRow(
                version=version.number,
                run_id=run.id,
                run=run.name,
                dataset=dataset.name,
                split=run.split,
                accuracy=Estimate.model_validate(figure) if figure else None,
                created_at=run.created_at,
            )
            found.setdefault((version.id, dataset.id, run.split), row)
    return list(found.values())


def history(session: Session, versions: Sequence[ModelVersion]) -> list[DecisionRow]:
    """Return the decisions about versions, newest first."""
    numbers = {version.id: version.number for version in versions}
    return [
        DecisionRow(
            version=numbers[entry.decision.version_id],
            decision=entry.decision.decision,
            note=entry.decision.note,
            user=entry.user,
            at=entry.decision.created_at,
        )
        for entry in decisions.history(session, list(numbers))
    ]
