"""Findings, and the verdicts and comments that people leave on any subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.orm import Session

from app.store.models import Comment, Finding, User, Verdict

SUBJECT = "finding"
"""The `subject_type` of verdicts and comments on findings."""
CONFIRMED_FIRST = (Finding.evidence != "confirmed", Finding.rank, Finding.id)


class Judgement(NamedTuple):
    """One person's newest verdict on a subject."""

    user_id: int
    user: str
    subject_id: int
    verdict: str


class Outline(NamedTuple):
    """What a list of slices needs to know of one."""

    id: int
    title: str
    class_index: int | None


class Remark(NamedTuple):
    """A comment with its author's name."""

    comment: Comment
    user: str


def get(session: Session, finding_id: int) -> Finding | None:
    """Return one finding, retired or not."""
    return session.get(Finding, finding_id)


def of_run(
    session: Session,
    run_id: int,
    *,
    kind: str = "",
    text: str = "",
    retired: bool = False,
    limit: int | None = None,
    offset: int = 0,
    **equal: Any,
) -> list[Finding]:
    """Return a run's findings, confirmed ones first, then by rank; `equal` compares columns, a list means any."""
    query = _filtered(select(Finding), run_id, kind, text, retired, equal).order_by(*CONFIRMED_FIRST)
    return list(session.scalars(query.limit(limit).offset(offset)))


def count(session: Session, run_id: int, *, kind: str = "", text: str = "", retired: bool = False, **equal: Any) -> int:
    """Count what `of_run` would return without its page."""
    query = _filtered(select(func.count()).select_from(Finding), run_id, kind, text, retired, equal)
    return session.scalar(query) or 0


def outline(session: Session, run_id: int) -> list[Outline]:
    """Return a run's slices in force in the order of the list, without their numbers."""
    here = (Finding.run_id == run_id, Finding.retired.is_(False), Finding.subject == "slice")
    query = select(Finding.id, Finding.title, Finding.class_index).where(*here).order_by(*CONFIRMED_FIRST)
    return [Outline(*row) for row in session.execute(query)]


def facets(session: Session, run_id: int) -> tuple[list[int], list[str]]:
    """Return the classes and the methods that a run's slices in force have."""
    here = (Finding.run_id == run_id, Finding.retired.is_(False), Finding.subject == "slice")
    labels = session.scalars(select(Finding.class_index).where(*here).distinct().order_by(Finding.class_index))
    methods = session.scalars(select(Finding.method).where(*here).distinct().order_by(Finding.method))
    return [label for label in labels if label is not None], list(methods)


def confirmed_by_class(session: Session, run_id: int) -> dict[int, int]:
    """Return the number of confirmed slices in force by class."""
    here = (Finding.run_id == run_id, Finding.retired.is_(False), Finding.evidence == "confirmed")
    counted = select(Finding.class_index, func.count()).where(*here, Finding.subject == "slice")
    rows = session.execute(counted.group_by(Finding.class_index))
    return {index: number for index, number in rows if index is not None}


def successors(session: Session, finding: Finding) -> list[Finding]:
    """Return the findings in force that were made from this one, through any number of steps."""
    made = session.scalars(select(Finding).where(Finding.run_id == finding.run_id, Finding.id > finding.id))
    descendants, current = {finding.id}, []
    for candidate in sorted(made, key=lambda f: f.id):
        if descendants.intersection(candidate.parents):
            descendants.add(candidate.id)
            current += [] if candidate.retired else [candidate]
    return current


def add(session: Session, finding: Finding) -> Finding:
    """Store a new finding and give it its id."""
    session.add(finding)
    session.flush()
    return finding


def retire(session: Session, ids: Sequence[int]) -> None:
    """Take findings out of force; they stay readable under their links."""
    session.execute(update(Finding).where(Finding.id.in_(ids)).values(retired=True))


def carry(session: Session, subject_type: str, old_id: int, new_id: int) -> None:
    """Move verdicts and comments to a newer version of their subject."""
    for table in (Verdict, Comment):
        same = (table.subject_type == subject_type, table.subject_id == old_id)
        session.execute(update(table).where(*same).values(subject_id=new_id))


def add_verdict(session: Session, subject_type: str, subject_id: int, user_id: int, verdict: str) -> None:
    """Record a judgement; earlier ones of the same person stay, the newest counts."""
    session.add(Verdict(subject_type=subject_type, subject_id=subject_id, user_id=user_id, verdict=verdict))
    session.flush()


def judgements(session: Session, subject_type: str, subject_ids: Sequence[int]) -> list[Judgement]:
    """Return each person's newest verdict on each subject, in the order in which people first judged."""
    return _newest(session, subject_type, Verdict.subject_id.in_(subject_ids))


def judgements_of_run(session: Session, run_id: int) -> list[Judgement]:
    """Return each person's newest verdict on each finding in force of a run."""
    mine = select(Finding.id).where(Finding.run_id == run_id, Finding.retired.is_(False))
    return _newest(session, SUBJECT, Verdict.subject_id.in_(mine))


def add_comment(session: Session, subject_type: str, subject_id: int, user_id: int, text: str) -> Comment:
    """Store a remark."""
    comment = Comment(subject_type=subject_type, subject_id=subject_id, user_id=user_id, text=text)
    session.add(comment)
    session.flush()
    return comment


def comments(session: Session, subject_type: str, subject_ids: Sequence[int]) -> list[Remark]:
    """Return the remarks on subjects, oldest first."""
    query = (
        select(Comment, User.name)
        .join(User, User.id == Comment.user_id)
        .where(Comment.subject_type == subject_type, Comment.subject_id.in_(subject_ids))
        .order_by(Comment.id)
    )
    return [Remark(comment, user) for comment, user in session.execute(query)]


def _newest(session: Session, subject_type: str, which: ColumnElement[bool]) -> list[Judgement]:
    query = (
        select(Verdict, User.name)
        .join(User, User.id == Verdict.user_id)
        .where(Verdict.subject_type == subject_type, which)
        .order_by(Verdict.id)
    )
    newest: dict[tuple[int, int], Judgement] = {}
    for verdict, user in session.execute(query):
        place = (verdict.user_id, verdict.subject_id)
        newest[place] = Judgement(verdict.user_id, user, verdict.subject_id, verdict.verdict)
    return list(newest.values())


def _filtered(
    query: Select[Any], run_id: int, kind: str, text: str, retired: bool, equal: dict[str, Any]
) -> Select[Any]:
    query = query.where(Finding.run_id == run_id)
    if kind:
        query = query.where(Finding.kind == kind)
    if not retired:
        query = query.where(Finding.retired.is_(False))
    if text:
        query = query.where(Finding.title.icontains(text, autoescape=True))
    for name, value in equal.items():
        column = getattr(Finding, name)
        if isinstance(value, (list, tuple)):
            query = query.where(column.in_(value))
        elif value is not None:
            query = query.where(column == value)
    return query
