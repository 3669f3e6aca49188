"""Audit runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import (
    Base,
    UtcDateTime,
    created,
    json_list,
    json_object,
    name_text,
    pk,
    project_fk,
    status,
)


class AuditRun(Base):
    """Audits of one model version on one split of a data set."""

    __tablename__ = "audit_run"
    id: Mapped[pk]
    project_id: Mapped[project_fk]
    name: Mapped[name_text]
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"), index=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id"), index=True)
    split: Mapped[name_text]
    """The audited split."""
    train_split: Mapped[str] = mapped_column(String(200), default="")
    """The training split in the same data set; empty when there is none."""
    kinds: Mapped[json_list]
    params: Mapped[json_object]
    """{kind: parameters}."""
    encoder: Mapped[str] = mapped_column(String(300))
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[status]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    attempt: Mapped[int] = mapped_column(default=0)
    """Counts resumes; a part of the workflow's id."""
    provenance: Mapped[json_object]
    """Hashes of data, model, code and parameters; library versions; device."""
    summary: Mapped[json_object]
    """{kind: summary} and {"card": …} for the report card."""
    scores_key: Mapped[str] = mapped_column(String(120), default="")
    details_keys: Mapped[json_object]
    """{stage name: artifact key}."""
    error: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
