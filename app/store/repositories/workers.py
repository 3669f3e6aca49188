"""Heartbeats of worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.store.models import Worker
from app.store.models.base import utcnow

ALIVE = timedelta(seconds=60)
LOST = timedelta(minutes=5)


def announce(session: Session, executor_id: str, values: Mapping[str, Any]) -> None:
    """Register a worker that starts, in place of an earlier one of the same id."""
    session.execute(delete(Worker).where(Worker.executor_id == executor_id))
    session.add(Worker(executor_id=executor_id, started_at=utcnow(), heartbeat_at=utcnow(), **values))
    session.flush()


def beat(session: Session, executor_id: str) -> None:
    """Say that a worker is alive."""
    session.execute(update(Worker).where(Worker.executor_id == executor_id).values(heartbeat_at=utcnow()))


def leave(session: Session, executor_id: str) -> None:
    """Say that a worker has stopped. What it held waits for it; should it never come back, it counts as lost later."""
    stopped = update(Worker).where(Worker.executor_id == executor_id)
    session.execute(stopped.values(heartbeat_at=utcnow() - ALIVE))


def withdraw(session: Session, executor_id: str) -> None:
    """Forget a worker whose work was given to others."""
    session.execute(delete(Worker).where(Worker.executor_id == executor_id))


def alive(session: Session) -> list[Worker]:
    """Return the workers that were heard of within the last minute."""
    fresh = select(Worker).where(Worker.heartbeat_at > utcnow() - ALIVE)
    return list(session.scalars(fresh.order_by(Worker.executor_id)))


def count_alive(session: Session, role: str) -> int:
    """Count the live workers of a role."""
    fresh = (Worker.role == role, Worker.heartbeat_at > utcnow() - ALIVE)
    return session.scalar(select(func.count()).select_from(Worker).where(*fresh)) or 0


def lost(session: Session) -> list[str]:
    """Return the ids of workers not heard of for five minutes: their machines are gone for good."""
    old = select(Worker.executor_id).where(Worker.heartbeat_at < utcnow() - LOST)
    return list(session.scalars(old))
