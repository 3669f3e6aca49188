"""Follows a job on the terminal: a bar for each stage, its log, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.errors import FaultlineError
from app.store.models import Stage
from app.store.repositories import jobs
from app.store.session import reading

ENDED = {"succeeded", "failed", "cancelled"}
POLL_SECONDS = 0.3


class Now(NamedTuple):
    """The state of a job."""

    status: str
    error: str
    stages: list[Stage]


class JobFailed(FaultlineError):
    """The job that was waited for did not succeed."""


def follow(subject: str, subject_id: int, between: Callable[[], None] = lambda: None) -> None:
    """Show a job's progress until it ends; `between` is called before each look, and may raise.

    Raises:
        JobFailed: it failed or was cancelled; the message is the job's own.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        now = _watch(progress, subject, subject_id, between)
    if now.status != "succeeded":
        raise JobFailed(now.error or f"The job was {now.status}.")


def _watch(progress: Progress, subject: str, subject_id: int, between: Callable[[], None]) -> Now:
    bars: dict[str, TaskID] = {}
    seen = 0
    while True:
        now = _look(subject, subject_id)
        for stage in now.stages:
            _draw(progress, bars, stage)
        seen = _print_log(progress.console, subject, subject_id, seen)
        if now.status in ENDED:
            return now
        between()
        time.sleep(POLL_SECONDS)


def _look(subject: str, subject_id: int) -> Now:
    with reading() as session:
        stages = jobs.stages(session, subject, subject_id)
        status, error = jobs.ended(session, subject, subject_id)
        return Now(status, error, stages)


def _draw(progress: Progress, bars: dict[str, TaskID], stage: Stage) -> None:
    if stage.name not in bars:
        if stage.status == "queued":
            return
        bars[stage.name] = progress.add_task(stage.title, total=None)
    bar = bars[stage.name]
    progress.update(bar, completed=stage.done, total=stage.total or None)
    if stage.status in ENDED:
        progress.stop_task(bar)


def _print_log(console: Console, subject: str, subject_id: int, seen: int) -> int:
    with reading() as session:
        lines = jobs.log_lines(session, subject, subject_id, after=seen)
    for line in lines:
        console.print(f"  {line.text}", style="yellow" if line.level != "info" else "dim", highlight=False)
    return lines[-1].id if lines else seen
