"""Models, their versions and checkpoints."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, created, json_object, name_text, pk, project_fk, status


class Model(Base):
    """A classifier that a team owns, through all its versions."""

    __tablename__ = "model"
    id: Mapped[pk]
    project_id: Mapped[project_fk]
    name: Mapped[name_text]
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[created]


class ModelVersion(Base):
    """One trained state of a model, with how to feed it and read it."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("model_id", "number"),)
    id: Mapped[pk]
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    status: Mapped[status]
    format: Mapped[str] = mapped_column(String(24))
    spec: Mapped[json_object]
    """JSON of `app.loaders.models.spec.ModelSpec`."""
    claim: Mapped[json_object]
    """What the user says: accuracy, on which data set and split; the training split."""
    inspection: Mapped[json_object]
    smoke: Mapped[json_object]
    model_hash: Mapped[str] = mapped_column(String(64), default="")
    error: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]


class Checkpoint(Base):
    """One file of weights of a version; the last position is the one that predicts."""

    __tablename__ = "checkpoint"
    __table_args__ = (UniqueConstraint("version_id", "position"),)
    id: Mapped[pk]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    filename: Mapped[name_text]
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]
    created_at: Mapped[created]
