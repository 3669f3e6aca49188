"""The progress of a job, as every page shows it: stages with bars, expected end, log."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from app.store.models import LogLine, Stage
from app.store.models.base import utcnow
from app.store.repositories import jobs

LOG_LINES = 200


class StageRow(BaseModel):
    """One stage of a job."""

    title: str
    status: str = Field(description="queued, running, succeeded, failed or cancelled; empty where the end came first")
    units: str = Field(description="What is counted: rows, steps or %.")
    done: int
    total: int
    cached: int = Field(description="How much of `done` was computed by earlier runs.")
    seconds: float | None = Field(description="How long it took, or has taken so far.")
    seconds_left: float | None = Field(description="Expected rest, once there is a rate to tell it by.")
    message: str


class LogRow(BaseModel):
    """One line of a job's log."""

    moment: datetime
    level: str
    text: str


class Progress(BaseModel):
    """How far a job is."""

    subject: str = Field(description="dataset, model_version or run")
    subject_id: int
    status: str = Field(description="queued, running, succeeded, failed or cancelled")
    active: bool = Field(description="Whether it still changes; a page polls only then.")
    error: str = Field(description="Why it failed, in a sentence.")
    stages: list[StageRow]
    log: list[LogRow] = Field(description=f"The newest {LOG_LINES} lines.")


def progress_of(session: Session, subject: str, subject_id: int, status: str, error: str = "") -> Progress:
    """Return the progress of a job whose own row says `status`."""
    stages = [_stage_row(stage) for stage in jobs.stages(session, subject, subject_id)]
    lines = [_log_row(line) for line in jobs.last_log_lines(session, subject, subject_id, LOG_LINES)]
    active = status in jobs.ACTIVE
    return Progress(
        subject=subject,
        subject_id=subject_id,
        status=status,
        active=active,
        error=error,
        stages=stages,
        log=lines,
    )


def _stage_row(stage: Stage) -> StageRow:
    seconds = None
    if stage.started_at is not None:
        seconds = ((stage.finished_at or utcnow()) - stage.started_at).total_seconds()
    return StageRow(
        title=stage.title,
        status="" if stage.status in {"failed", "cancelled"} and stage.started_at is None else stage.status,
        units=stage.units,
        done=stage.done,
        total=stage.total,
        cached=stage.cached,
        seconds=seconds,
        seconds_left=_seconds_left(stage, seconds),
        message=stage.message,
    )


def _seconds_left(stage: Stage, seconds: float | None) -> float | None:
    computed = stage.done - stage.cached
    if stage.status != "running" or not seconds or computed <= 0 or stage.total <= stage.done:
        return None
    return seconds * (stage.total - stage.done) / computed


def _log_row(line: LogLine) -> LogRow:
    return LogRow(moment=line.created_at, level=line.level, text=line.text)
