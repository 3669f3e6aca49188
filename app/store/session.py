"""Engines and sessions. On SQLite every transaction begins IMMEDIATE, so that no update is lost between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app.settings import get_settings


def make_engine(url: str, *, foreign_keys: bool = True) -> Engine:
    """Return an engine for `url`.

    `foreign_keys=False` is for migrations: with that pragma on, SQLite's batch mode copies a table, drops the
    old one and silently cascades the deletion to all child rows.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"check_same_thread": False, "timeout": 30})
    _configure_sqlite(engine, foreign_keys=foreign_keys)
    return engine


def _configure_sqlite(engine: Engine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN would come late and deferred
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@lru_cache
def get_engine() -> Engine:
    """Return this process's engine on the configured database."""
    return make_engine(get_settings().resolved_database_url)


@contextmanager
def transaction() -> Iterator[Session]:
    """Yield a session whose work is committed at the end, or rolled back on an error: the edge of a request or job."""
    with Session(get_engine(), expire_on_commit=False) as session:
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise


@contextmanager
def reading() -> Iterator[Session]:
    """Yield a session for reading; nothing is committed, and no writer waits for it."""
    with Session(get_engine().execution_options(reads=True), expire_on_commit=False) as session:
        yield session


def answering() -> str:
    """Ask the database for an answer, and return what kind of database it is."""
    with reading() as session:
        session.execute(text("SELECT 1"))
        return session.get_bind().dialect.name
