"""Locks by which processes take turns."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from app.store.session import get_engine


@contextmanager
def migrating(folder: Path) -> Iterator[None]:
    """Hold the one right to migrate: an advisory lock of PostgreSQL, or a file lock in `folder` beside SQLite."""
    engine = get_engine()
    if engine.dialect.name != "postgresql":
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "migrations.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    # In autocommit: an open transaction would hold up CREATE INDEX CONCURRENTLY.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtext('faultline-migrations'))"))
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(hashtext('faultline-migrations'))"))
