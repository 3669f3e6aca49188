"""Progress of long work: stages, log lines, and the statuses of data sets, model versions, runs and questions.

Only a job that is still wanted may write: every statement on a run names the attempt that it speaks for, so that a
worker which outlives a cancel changes nothing of the attempt after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, case, column, delete, func, insert, literal, select, table, true, update
from sqlalchemy.orm import Session

from app.store.models import AuditRun, Dataset, LogLine, ModelVersion, Query, Stage
from app.store.models.base import utcnow

ACTIVE = ("queued", "running")
DONE = ("succeeded", "failed", "cancelled")
_CANCELLED = {
    "run": "Cancelled. What is finished is kept; resume goes on from there.",
    "dataset": "Cancelled. The files are kept; it can be read again without sending them again.",
    "model_version": "Cancelled. The files are kept; it can be checked again without sending them again.",
}
Row = type[Dataset] | type[ModelVersion] | type[AuditRun] | type[Query]
TABLES: dict[str, Row] = {"dataset": Dataset, "model_version": ModelVersion, "run": AuditRun, "query": Query}


class Job(NamedTuple):
    """What a job works on, and which try it is."""

    type: str
    """dataset, model_version, run or query."""
    id: int
    attempt: int = 0


class StagePlan(NamedTuple):
    """One line of a job's progress, before it begins."""

    name: str
    title: str
    units: str = "rows"
    total: int = 0


def plan_stages(session: Session, job: Job, plans: Sequence[StagePlan]) -> None:
    """Replace the job's stages by `plans`, all queued."""
    session.execute(delete(Stage).where(*_subject(job)))
    rows = [{**_place(job), "position": position, **plan._asdict()} for position, plan in enumerate(plans)]
    if rows:
        session.execute(insert(Stage), [{"status": "queued", "done": 0, "cached": 0, **row} for row in rows])


def begin_stage(session: Session, job: Job, name: str, *, total: int, cached: int = 0) -> None:
    """Mark a stage running; `cached` of its `total` units were found in the store."""
    values = {"status": "running", "total": total, "done": cached, "cached": cached, "started_at": utcnow()}
    session.execute(update(Stage).where(*_stage(job, name)).values(**values))


def add_done(session: Session, job: Job, name: str, units: int) -> None:
    """Add finished units to a stage's counter, atomically and never past its total."""
    done = Stage.done + units
    session.execute(
        update(Stage)
        .where(*_stage(job, name), Stage.status == "running")
        .values(done=case((done > Stage.total, Stage.total), else_=done))
    )


def set_progress(session: Session, job: Job, name: str, done: int, message: str, *, total: int | None = None) -> None:
    """State how far a running stage is, what it is doing, and its length once that is known."""
    values: dict[str, Any] = {"done": done, "message": message}
    if total is not None:
        values["total"] = total
    session.execute(update(Stage).where(*_stage(job, name), Stage.status == "running").values(**values))


def say(session: Session, job: Job, name: str, message: str) -> None:
    """State what a running stage is doing."""
    session.execute(update(Stage).where(*_stage(job, name), Stage.status == "running").values(message=message))


def end_stage(
    session: Session,
    job: Job,
    name: str,
    status: str,
    *,
    done: int | None = None,
    message: str = "",
    artifact_key: str = "",
    cached: bool = False,
) -> None:
    """Finish a stage; without `done` a success counts as its whole total, `cached` as found in the store."""
    whole = Stage.total if status == "succeeded" else Stage.done
    values: dict[str, Any] = {"status": status, "done": whole if done is None else done, "message": message}
    values |= {"artifact_key": artifact_key, "finished_at": utcnow()}
    values |= {"started_at": func.coalesce(Stage.started_at, literal(utcnow()))}
    if cached:
        values["cached"] = Stage.total
    session.execute(update(Stage).where(*_stage(job, name)).values(**values))


def stages(session: Session, type_: str, id_: int) -> list[Stage]:
    """Return a job's stages in order."""
    return list(session.scalars(select(Stage).where(*_subject(Job(type_, id_))).order_by(Stage.position)))


def ended(session: Session, type_: str, id_: int) -> tuple[str, str]:
    """Return (status, error) of a job's row."""
    table = TABLES[type_]
    row = session.execute(select(table.status, table.error).where(table.id == id_)).one()
    return row[0], row[1]


def log(session: Session, job: Job, text: str, level: str = "info") -> None:
    """Add a line to the job's log."""
    session.add(LogLine(**_place(job), text=text, level=level))
    session.flush()


def log_lines(session: Session, type_: str, id_: int, *, after: int = 0, limit: int = 500) -> list[LogLine]:
    """Return the job's log lines with ids above `after`, oldest first."""
    wanted = (LogLine.subject_type == type_, LogLine.subject_id == id_, LogLine.id > after)
    return list(session.scalars(select(LogLine).where(*wanted).order_by(LogLine.id).limit(limit)))


def last_log_lines(session: Session, type_: str, id_: int, limit: int) -> list[LogLine]:
    """Return the job's newest log lines, oldest first."""
    mine = select(LogLine).where(LogLine.subject_type == type_, LogLine.subject_id == id_)
    return list(reversed(session.scalars(mine.order_by(LogLine.id.desc()).limit(limit)).all()))


def start(session: Session, job: Job) -> bool:
    """Mark the job running; False when nobody wants it any more."""
    rows = TABLES[job.type]
    values: dict[str, Any] = {"status": "running"}
    if rows is AuditRun:
        values["started_at"] = func.coalesce(AuditRun.started_at, literal(utcnow()))
    return _changed(session, job, values)


def finish(session: Session, job: Job, status: str, error: str = "") -> bool:
    """Set the job's last status, unless it was cancelled or taken up anew meanwhile; end its open stages likewise."""
    rows = TABLES[job.type]
    values: dict[str, Any] = {"status": status, "error": error}
    if rows in {AuditRun, Query}:
        values["finished_at"] = utcnow()
    if not _changed(session, job, values):
        return False
    _close_stages(session, job, status if status != "succeeded" else "cancelled")
    return True


def request_cancel(session: Session, job: Job) -> bool:
    """Mark a job cancelled at once; its workers notice, stop, and change nothing more. False when it had ended."""
    values: dict[str, Any] = {"status": "cancelled"}
    if TABLES[job.type] is AuditRun:
        values |= {"cancel_requested": True, "finished_at": utcnow()}
    if not _changed(session, job, values):
        return False
    _close_stages(session, job, "cancelled")
    log(session, job, _CANCELLED.get(job.type, "Cancelled."))
    return True


def resume(session: Session, run_id: int) -> int | None:
    """Queue a run that ended without success once more; return its new attempt, or None when it may not."""
    values = {"status": "queued", "cancel_requested": False, "error": "", "finished_at": None}
    ended = (AuditRun.id == run_id, AuditRun.status.in_(("failed", "cancelled")))
    changed = update(AuditRun).where(*ended).values(attempt=AuditRun.attempt + 1, **values)
    if not _count(session, changed):
        return None
    return session.scalar(select(AuditRun.attempt).where(AuditRun.id == run_id))


def wanted(session: Session, job: Job) -> bool:
    """Whether the job is still to be done: not cancelled, not taken up anew, not deleted."""
    rows = TABLES[job.type]
    return session.scalar(select(rows.id).where(*_current(job))) is not None


def active(session: Session) -> list[Job]:
    """Return the jobs that are queued or running."""
    found = []
    for type_, rows in TABLES.items():
        attempt = AuditRun.attempt if rows is AuditRun else literal(0)
        found += [Job(type_, *row) for row in session.execute(select(rows.id, attempt).where(rows.status.in_(ACTIVE)))]
    return found


def engine_status(session: Session, workflow_id: str, schema: str) -> str | None:
    """The job engine's own word on a workflow; its tables lie beside ours on SQLite, in `schema` on PostgreSQL."""
    place = None if session.get_bind().dialect.name == "sqlite" else schema
    rows = table("workflow_status", column("workflow_uuid"), column("status"), schema=place)
    return session.scalar(select(rows.c.status).where(rows.c.workflow_uuid == workflow_id))


def _changed(session: Session, job: Job, values: dict[str, Any]) -> bool:
    return _count(session, update(TABLES[job.type]).where(*_current(job)).values(**values)) > 0


def _current(job: Job) -> tuple[ColumnElement[bool], ...]:
    rows = TABLES[job.type]
    attempt = AuditRun.attempt == job.attempt if rows is AuditRun else true()
    return rows.id == job.id, rows.status.in_(ACTIVE), attempt


def _close_stages(session: Session, job: Job, status: str) -> None:
    open_ones = update(Stage).where(*_subject(job), Stage.status.in_(ACTIVE))
    session.execute(open_ones.values(status=status, finished_at=utcnow()))


def _subject(job: Job) -> tuple[ColumnElement[bool], ...]:
    return Stage.subject_type == job.type, Stage.subject_id == job.id


def _place(job: Job) -> dict[str, Any]:
    return {"subject_type": job.type, "subject_id": job.id}


def _stage(job: Job, name: str) -> tuple[ColumnElement[bool], ...]:
    """The stage's row, for as long as the job's own row wants this attempt."""
    rows = TABLES[job.type]
    return *_subject(job), Stage.name == name, select(rows.id).where(*_current(job)).exists()


def _count(session: Session, statement: Any) -> int:
    result: Any = session.execute(statement)
    return int(result.rowcount)
