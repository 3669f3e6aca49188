"""Tags and assignments on any subject, and what people decide about model versions."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, created, pk, project_fk, user_fk


class Tag(Base):
    """A word that people put on a subject, to find it again."""

    __tablename__ = "tag"
    __table_args__ = (
        UniqueConstraint("subject_type", "scope_id", "subject_id", "name"),
        Index("ix_tag_name", "subject_type", "scope_id", "name"),
    )
    id: Mapped[pk]
    project_id: Mapped[project_fk]
    subject_type: Mapped[str] = mapped_column(String(24))
    """finding or image."""
    scope_id: Mapped[int]
    """The run of a finding; the data set of an image, so that its tags stand in every run."""
    subject_id: Mapped[int]
    """Id of a finding; row of an image."""
    name: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[user_fk]
    created_at: Mapped[created]


class Assignment(Base):
    """Who is to look at a subject; one person at a time."""

    __tablename__ = "assignment"
    __table_args__ = (UniqueConstraint("subject_type", "subject_id"),)
    id: Mapped[pk]
    subject_type: Mapped[str] = mapped_column(String(24))
    subject_id: Mapped[int]
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    assigned_by: Mapped[user_fk]
    created_at: Mapped[created]


class VersionDecision(Base):
    """What a person decided about a model version; rows are only added, the newest counts."""

    __tablename__ = "version_decision"
    id: Mapped[pk]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id", ondelete="CASCADE"), index=True)
    decision: Mapped[str] = mapped_column(String(16))
    """approved or retired."""
    note: Mapped[str] = mapped_column(Text, default="")
    user_id: Mapped[user_fk]
    created_at: Mapped[created]
