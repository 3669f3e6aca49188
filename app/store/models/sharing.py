"""Reports, share links and the append-only log."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, UtcDateTime, created, json_object, moment, name_text, pk, project_fk


class Report(Base):
    """An immutable snapshot of a run; its content lives in the artifact under `artifact_key`."""

    __tablename__ = "report"
    id: Mapped[pk]
    project_id: Mapped[project_fk]
    run_id: Mapped[int] = mapped_column(ForeignKey("audit_run.id", ondelete="CASCADE"), index=True)
    title: Mapped[name_text]
    artifact_key: Mapped[str] = mapped_column(String(120))
    content_hash: Mapped[str] = mapped_column(String(64))
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]


class ShareLink(Base):
    """A signed link to one report; expires, and can be revoked."""

    __tablename__ = "share_link"
    id: Mapped[pk]
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[moment]
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]


class AuditLog(Base):
    """Who did what and when; rows are only ever added."""

    __tablename__ = "audit_log"
    id: Mapped[pk]
    project_id: Mapped[int | None] = mapped_column(index=True)
    user_id: Mapped[int | None]
    action: Mapped[str] = mapped_column(String(80))
    subject_type: Mapped[str] = mapped_column(String(24), default="")
    subject_id: Mapped[int | None]
    detail: Mapped[json_object]
    created_at: Mapped[created]
