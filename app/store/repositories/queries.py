"""The analysts' questions of a run; every one is kept, because every one spends confirm rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.store.models import AuditRun, DatasetSplit, Query, User


class Asked(NamedTuple):
    """A question with the name of who asked it."""

    query: Query
    user: str


def add(session: Session, query: Query) -> Query:
    """Store a new question and give it its id."""
    session.add(query)
    session.flush()
    return query


def get(session: Session, query_id: int) -> Query | None:
    """Return one question."""
    return session.get(Query, query_id)


def of_run(
    session: Session,
    run_id: int,
    *,
    actions: Sequence[str] = (),
    leaving_out: Sequence[str] = (),
    before: int | None = None,
    limit: int = 50,
) -> list[Asked]:
    """Return a run's questions, newest first; `before` is the id where the last page ended."""
    query = (
        select(Query, User.name)
        .outerjoin(User, User.id == Query.created_by)
        .where(Query.run_id == run_id)
        .order_by(Query.id.desc())
        .limit(limit)
    )
    if actions:
        query = query.where(Query.action.in_(actions))
    if leaving_out:
        query = query.where(Query.action.not_in(leaving_out))
    if before is not None:
        query = query.where(Query.id < before)
    return [Asked(row, user or "") for row, user in session.execute(query)]


def named(session: Session, query_id: int) -> Asked | None:
    """Return one question with the name of who asked it."""
    query = select(Query, User.name).outerjoin(User, User.id == Query.created_by).where(Query.id == query_id)
    found = session.execute(query).one_or_none()
    return None if found is None else Asked(found[0], found[1] or "")


def latest_about(
    session: Session, run_id: int, kind: str, action: str, about: int, by: str = "position"
) -> Query | None:
    """Return the latest question of that name whose payload's field `by` is `about`."""
    named = (Query.run_id == run_id, Query.kind == kind, Query.action == action)
    same = Query.payload[by].as_integer() == about
    return session.scalars(select(Query).where(*named, same).order_by(Query.id.desc()).limit(1)).first()


def count(session: Session, run_id: int, actions: Sequence[str] = (), *, leaving_out: Sequence[str] = ()) -> int:
    """Count a run's questions."""
    query = select(func.count()).select_from(Query).where(Query.run_id == run_id, Query.action.not_in(leaving_out))
    return session.scalar(query.where(Query.action.in_(actions)) if actions else query) or 0


def split_of(session: Session, run: AuditRun) -> DatasetSplit:
    """Return the audited split of a run."""
    return session.scalars(select(DatasetSplit).where(*_named(run, run.split))).one()


def train_split_of(session: Session, run: AuditRun) -> DatasetSplit | None:
    """Return the training split of a run; none where it names none."""
    return session.scalars(select(DatasetSplit).where(*_named(run, run.train_split))).one_or_none()


def _named(run: AuditRun, split: str) -> tuple[ColumnElement[bool], ...]:
    return DatasetSplit.dataset_id == run.dataset_id, DatasetSplit.name == split
