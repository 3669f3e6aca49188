"""Models, their versions and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.models import AuditRun, Checkpoint, Dataset, Model, ModelVersion


class Listed(NamedTuple):
    """A model with its newest version."""

    model: Model
    version: ModelVersion | None


class Choice(NamedTuple):
    """A version that can be audited, with its model."""

    version: ModelVersion
    model: Model


class Audited(NamedTuple):
    """A finished run of a version, with the data set's name."""

    run: AuditRun
    dataset: Dataset


def get_model(session: Session, model_id: int) -> Model | None:
    """Return a model."""
    return session.get(Model, model_id)


def get_version(session: Session, model_id: int, number: int) -> ModelVersion | None:
    """Return a model's version by its number."""
    query = select(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.number == number)
    return session.scalar(query)


def version_by_id(session: Session, version_id: int) -> ModelVersion | None:
    """Return a version by its id."""
    return session.get(ModelVersion, version_id)


def model_by_name(session: Session, project_id: int, name: str) -> Model | None:
    """Return a project's model of this name."""
    return session.scalar(select(Model).where(Model.project_id == project_id, Model.name == name))


def page(session: Session, project_ids: Sequence[int], *, before: int | None = None, limit: int = 30) -> list[Listed]:
    """Return models, newest first, each with its newest version; `before` is the id where the last page ended."""
    numbers = select(func.max(ModelVersion.id)).where(ModelVersion.model_id == Model.id)
    newest = numbers.correlate(Model).scalar_subquery()
    query = select(Model, ModelVersion).outerjoin(ModelVersion, ModelVersion.id == newest)
    query = query.where(Model.project_id.in_(project_ids)).order_by(Model.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Model.id < before)
    return [Listed(model, version) for model, version in session.execute(query)]


def versions(session: Session, model_id: int) -> Sequence[ModelVersion]:
    """Return a model's versions, newest first."""
    query = select(ModelVersion).where(ModelVersion.model_id == model_id)
    return session.scalars(query.order_by(ModelVersion.number.desc())).all()


def choices(session: Session, project_id: int) -> list[Choice]:
    """Return the versions of a project that passed their smoke run, newest first."""
    query = select(ModelVersion, Model).join(Model, Model.id == ModelVersion.model_id)
    query = query.where(Model.project_id == project_id, ModelVersion.status == "succeeded")
    return [Choice(version, model) for version, model in session.execute(query.order_by(ModelVersion.id.desc()))]


def checkpoints(session: Session, version_id: int) -> Sequence[Checkpoint]:
    """Return a version's checkpoints in order; the last one predicts."""
    query = select(Checkpoint).where(Checkpoint.version_id == version_id)
    return session.scalars(query.order_by(Checkpoint.position)).all()


def add_model(session: Session, model: Model) -> Model:
    """Store a new model and give it its id."""
    session.add(model)
    session.flush()
    return model


def add_version(session: Session, version: ModelVersion, checkpoints: Sequence[Checkpoint]) -> ModelVersion:
    """Store a new version under the model's next number, with its checkpoints in order."""
    highest = select(func.max(ModelVersion.number)).where(ModelVersion.model_id == version.model_id)
    version.number = (session.scalar(highest) or 0) + 1
    session.add(version)
    session.flush()
    for position, checkpoint in enumerate(checkpoints):
        checkpoint.version_id, checkpoint.position = version.id, position
        session.add(checkpoint)
    session.flush()
    return version


def audited(session: Session, version_id: int, limit: int = 50) -> list[Audited]:
    """Return a version's finished runs, newest first."""
    query = select(AuditRun, Dataset).join(Dataset, Dataset.id == AuditRun.dataset_id)
    query = query.where(AuditRun.model_version_id == version_id, AuditRun.status == "succeeded")
    rows = session.execute(query.order_by(AuditRun.id.desc()).limit(limit))
    return [Audited(run, dataset) for run, dataset in rows]
