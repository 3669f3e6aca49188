"""Alembic environment: batch mode for SQLite, DBOS's tables left alone."""

from __future__ import annotations

from typing import Any

from alembic import context

from app.settings import get_settings
from app.store.models import Base
from app.store.models.base import UtcDateTime
from app.store.session import make_engine

TABLES = frozenset(Base.metadata.tables)


def include_name(name: str | None, type_: str, parents: Any) -> bool:
    """Look only at our own tables; the job engine keeps its own beside them."""
    return type_ != "table" or name in TABLES


def render_item(type_: str, item: Any, autogen_context: Any) -> str | bool:
    """Write our moment type as plain SQLAlchemy, so that migrations import nothing of ours."""
    return "sa.DateTime(timezone=True)" if type_ == "type" and isinstance(item, UtcDateTime) else False


def run() -> None:
    """Migrate on an engine without foreign keys, then check that none dangles."""
    url = context.config.get_main_option("sqlalchemy.url") or get_settings().resolved_database_url
    engine = make_engine(url, foreign_keys=False)
    with engine.begin() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_name=include_name,
            render_item=render_item,
            render_as_batch=True,
            transactional_ddl=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        if connection.dialect.name == "sqlite":
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise RuntimeError(f"rows lost their parents in a migration: {broken[:5]}")
    engine.dispose()


run()
