"""What audits found and what people said of it; generic over kinds and subjects."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, UtcDateTime, created, json_list, json_object, pk, status, user_fk


class Finding(Base):
    """Something that a kind states of a subject; a slice is a finding with a set of rows."""

    __tablename__ = "finding"
    __table_args__ = (UniqueConstraint("run_id", "kind", "key", "version"),)
    id: Mapped[pk]
    run_id: Mapped[int] = mapped_column(ForeignKey("audit_run.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(24))
    """slice, class, image, run …"""
    key: Mapped[str] = mapped_column(String(120))
    """Stable within the run and kind; for a slice also its name in the column `slices` of the scores."""
    version: Mapped[int] = mapped_column(default=1)
    method: Mapped[str] = mapped_column(String(40))
    class_index: Mapped[int | None] = mapped_column(index=True)
    rank: Mapped[int] = mapped_column(default=0)
    title: Mapped[str] = mapped_column(Text)
    """What a person reads: the caption, or the name that somebody gave."""
    evidence: Mapped[str] = mapped_column(String(24))
    """confirmed or insufficient."""
    origin: Mapped[str] = mapped_column(String(24), default="audit")
    """audit, hypothesis, lasso, merge, split, extend or parts."""
    parents: Mapped[json_list]
    """Ids of the findings that this one was made from."""
    retired: Mapped[bool] = mapped_column(default=False)
    metrics: Mapped[json_object]
    rows_key: Mapped[str] = mapped_column(String(120), default="")
    """Artifact with `rows.npy` (sorted int64 data set rows) of a slice that people made."""
    rows_hash: Mapped[str] = mapped_column(String(64), default="")
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]


class Verdict(Base):
    """One reviewer's judgement of a subject; the newest of each person counts."""

    __tablename__ = "verdict"
    __table_args__ = (Index("ix_verdict_subject", "subject_type", "subject_id"),)
    id: Mapped[pk]
    subject_type: Mapped[str] = mapped_column(String(24))
    subject_id: Mapped[int]
    user_id: Mapped[user_fk]
    verdict: Mapped[str] = mapped_column(String(16))
    """accept, reject or unsure."""
    created_at: Mapped[created]


class Comment(Base):
    """A remark on any subject."""

    __tablename__ = "comment"
    __table_args__ = (Index("ix_comment_subject", "subject_type", "subject_id"),)
    id: Mapped[pk]
    subject_type: Mapped[str] = mapped_column(String(24))
    subject_id: Mapped[int]
    user_id: Mapped[user_fk]
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[created]


class Query(Base):
    """An analyst's question of a run; each one spends confirm rows, so each one is kept."""

    __tablename__ = "query"
    id: Mapped[pk]
    run_id: Mapped[int] = mapped_column(ForeignKey("audit_run.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(40))
    payload: Mapped[json_object]
    status: Mapped[status]
    position: Mapped[int | None]
    """Order among the run's tests, for the online false-discovery control."""
    p_value: Mapped[float | None]
    adjusted_p_value: Mapped[float | None]
    result: Mapped[json_object]
    error: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
