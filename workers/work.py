"""What the engine hands to a worker, and what comes back: JSON both ways, never a tensor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from app.errors import FaultlineError
from app.store.repositories import jobs
from app.store.repositories.jobs import Job
from app.store.session import reading, transaction

Outcome = Literal["done", "refused", "crashed", "stopped"]
_LOOK_SECONDS = 0.5


class Unit(TypedDict):
    """One piece of work: a shard of a stage, or a whole stage that has no shards."""

    job: list[Any]
    """[type, id, attempt], see `Job`."""
    stage: str
    """Key of `workers.execute.STAGES`."""
    line: str
    """Name of the `stage` row whose progress it moves; empty when there is none."""
    args: dict[str, Any]


class Answer(TypedDict):
    """How a unit ended.

    done: `result` holds the stage's answer. refused: the input is wrong and no retry helps; `message` is for the
    person. crashed: it died again and again. stopped: the job is no longer wanted.
    """

    outcome: Outcome
    message: str
    result: dict[str, Any]


class Stopped(FaultlineError):
    """The job was cancelled, or taken up anew, while this unit worked on it."""


@dataclass
class Work:
    """A unit in the worker's hands: what to do, and how to say how far it is."""

    job: Job
    line: str
    args: dict[str, Any]
    device: str
    """cpu or cuda."""
    _looked: float = field(default=0.0, repr=False)
    _stopped: bool = field(default=False, repr=False)

    def stopped(self) -> bool:
        """Whether the job is no longer wanted; asks the database at most twice a second."""
        now = time.monotonic()
        if not self._stopped and now - self._looked > _LOOK_SECONDS:
            self._looked = now
            with reading() as session:
                self._stopped = not jobs.wanted(session, self.job)
        return self._stopped

    def check(self) -> None:
        """Raise `Stopped` when the job is no longer wanted."""
        if self.stopped():
            raise Stopped("Cancelled.")

    def log(self, text: str, level: str = "info") -> None:
        """Add a line to the job's log."""
        with transaction() as session:
            jobs.log(session, self.job, text, level)

    def count(self, units: int) -> None:
        """Add finished units to the stage's counter."""
        with transaction() as session:
            jobs.add_done(session, self.job, self.line, units)

    def begin(self, total: int = 100) -> None:
        """Mark the stage running."""
        with transaction() as session:
            jobs.begin_stage(session, self.job, self.line, total=total)

    def end(self, artifact_key: str = "", message: str = "", *, cached: bool = False) -> None:
        """Mark the stage succeeded."""
        with transaction() as session:
            jobs.end_stage(
                session, self.job, self.line, "succeeded", message=message, artifact_key=artifact_key, cached=cached
            )

    def progress(self) -> Callable[[float, str], None]:
        """Return `progress(share, message)` for a stage counted in hundredths; it raises `Stopped`."""
        said = [0.0]

        def say(share: float, message: str) -> None:
            self.check()
            if time.monotonic() - said[0] > _LOOK_SECONDS:
                said[0] = time.monotonic()
                with transaction() as session:
                    jobs.set_progress(session, self.job, self.line, int(100 * min(max(share, 0), 1)), message)

        return say

    def saying(self) -> Callable[[str], None]:
        """Return `say(message)` for a unit of a stage that others work on too; at most twice a second."""
        said = [0.0]

        def say(message: str) -> None:
            if time.monotonic() - said[0] > _LOOK_SECONDS:
                said[0] = time.monotonic()
                with transaction() as session:
                    jobs.say(session, self.job, self.line, message)

        return say

    def counted(self) -> Callable[[int, int | None, str], None]:
        """Return `say(done, total, message)` for a stage that finds out how long it is on its way."""
        said = [0.0]

        def say(done: int, total: int | None, message: str) -> None:
            if time.monotonic() - said[0] > _LOOK_SECONDS:
                said[0] = time.monotonic()
                with transaction() as session:
                    jobs.set_progress(session, self.job, self.line, done, message, total=total)

        return say
