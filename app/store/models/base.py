"""Declarative base, column types and mixins shared by the tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import JSON, DateTime, ForeignKey, MetaData, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def utcnow() -> datetime:
    """Return the present moment, with its zone."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets zones, so it is given back with one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Attach UTC to what SQLite returns without a zone."""
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


Json = JSON().with_variant(JSONB(), "postgresql")

pk = Annotated[int, mapped_column(primary_key=True)]
created = Annotated[datetime, mapped_column(UtcDateTime, default=utcnow)]
moment = Annotated[datetime, mapped_column(UtcDateTime)]
name_text = Annotated[str, mapped_column(String(200))]
status = Annotated[str, mapped_column(String(16), default="queued", index=True)]
project_fk = Annotated[int, mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)]
user_fk = Annotated[int, mapped_column(ForeignKey("user_account.id"))]
json_object = Annotated[dict[str, Any], mapped_column(Json, default=dict)]
json_list = Annotated[list[Any], mapped_column(Json, default=list)]


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
