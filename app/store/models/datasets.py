"""Data sets and their splits."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, created, json_list, json_object, name_text, pk, project_fk, status


class Dataset(Base):
    """A set of labelled images; its rows live in the artifact that `artifact_key` names."""

    __tablename__ = "dataset"
    id: Mapped[pk]
    project_id: Mapped[project_fk]
    name: Mapped[name_text]
    status: Mapped[status]
    source: Mapped[json_object]
    """Where it came from: {"upload": id} or {"url": …}, and import options."""
    classes: Mapped[json_list]
    meta_columns: Mapped[json_list]
    rows: Mapped[int] = mapped_column(default=0)
    data_hash: Mapped[str] = mapped_column(String(64), default="")
    artifact_key: Mapped[str] = mapped_column(String(120), default="")
    integrity: Mapped[json_object]
    error: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    created_at: Mapped[created]


class DatasetSplit(Base):
    """A contiguous range of a data set's rows."""

    __tablename__ = "dataset_split"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)
    id: Mapped[pk]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), index=True)
    name: Mapped[name_text]
    start: Mapped[int]
    stop: Mapped[int]
    label_counts: Mapped[json_list]
