"""Progress of long work, and uploads under way."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, UtcDateTime, created, json_object, moment, name_text, pk, project_fk, status


class Stage(Base):
    """One stage of a job's plan: how much of it is done."""

    __tablename__ = "stage"
    __table_args__ = (UniqueConstraint("subject_type", "subject_id", "name"),)
    id: Mapped[pk]
    subject_type: Mapped[str] = mapped_column(String(24))
    """dataset, model_version or run."""
    subject_id: Mapped[int]
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(80))
    title: Mapped[name_text]
    status: Mapped[status]
    units: Mapped[str] = mapped_column(String(24), default="rows")
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    cached: Mapped[int] = mapped_column(BigInteger, default=0)
    """How much of `done` was found in the store."""
    artifact_key: Mapped[str] = mapped_column(String(120), default="")
    message: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LogLine(Base):
    """A line of a job's log."""

    __tablename__ = "log_line"
    __table_args__ = (Index("ix_log_line_subject", "subject_type", "subject_id", "id"),)
    id: Mapped[pk]
    subject_type: Mapped[str] = mapped_column(String(24))
    subject_id: Mapped[int]
    level: Mapped[str] = mapped_column(String(8), default="info")
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[created]


class Upload(Base):
    """A file that streams in, resumable; becomes a blob when complete."""

    __tablename__ = "upload"
    id: Mapped[pk]
    project_id: Mapped[project_fk]
    token: Mapped[str] = mapped_column(String(64), unique=True)
    filename: Mapped[name_text]
    size: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str] = mapped_column(String(64), default="")
    meta: Mapped[json_object]
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]


class Worker(Base):
    """A worker process; one whose heartbeat is old is gone, and what it held is given to others."""

    __tablename__ = "worker"
    executor_id: Mapped[str] = mapped_column(String(120), primary_key=True)
    """`<host>-<role><index>`; a restarted worker keeps it."""
    role: Mapped[str] = mapped_column(String(16))
    host: Mapped[name_text]
    process_id: Mapped[int]
    device: Mapped[str] = mapped_column(String(16))
    version: Mapped[str] = mapped_column(String(40))
    started_at: Mapped[moment]
    heartbeat_at: Mapped[moment]
