"""Runs one unit of work in this process and says how it ended."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError

from app.errors import FaultlineError
from app.store.durable import NO_SPACE, is_full
from app.store.repositories.jobs import Job
from workers.sandbox import SandboxCancelled, SandboxError, SandboxFailed, SandboxTimeout
from workers.work import Answer, Outcome, Stopped, Unit, Work

STAGES: dict[str, str] = {
    "ingest": "workers.stages.ingest:run",
    "inspect": "workers.stages.check_model:inspect",
    "smoke": "workers.stages.check_model:smoke",
    "encoder": "workers.stages.embed:describe",
    "predict": "workers.stages.predict:run",
    "embed": "workers.stages.embed:run",
    "fit-model": "workers.stages.fit_model:run",
    "model-shard": "workers.stages.model_shard:run",
    "join-model": "workers.stages.join_model:run",
    "retrain": "workers.stages.retrain:run",
    "join-retrained": "workers.stages.join_retrained:run",
    "assemble": "workers.stages.assemble:run",
    "kind": "workers.stages.kind_stage:run",
    "publish": "workers.stages.publish:run",
    "answer": "workers.stages.answer:run",
}
GRACE_SECONDS = 10.0
"""How long a stage that computes in this process may go on after a cancel, before the process is killed."""
_LOG = logging.getLogger(__name__)


class TryAgain(Exception):
    """The unit died in a way that another try may mend; the message is for the person."""


def execute(unit: Unit, device: str) -> Answer:
    """Run a unit.

    Raises:
        TryAgain: it crashed; worth another try.
    """
    work = Work(Job(*unit["job"]), unit["line"], unit["args"], device)
    try:
        with _killed_when_deaf(work):
            work.check()
            return _answer("done", result=stage(unit["stage"])(work))
    except (Stopped, SandboxCancelled):
        return _answer("stopped", "Cancelled.")
    except (SandboxFailed, SandboxTimeout) as error:
        _LOG.warning("unit %s: %s\n%s", unit, error.message, error.tail)
        return crashed(error.message)
    except SandboxError as error:
        _LOG.warning("unit %s: %s\n%s", unit, error.message, error.tail)
        raise TryAgain(error.message) from error
    except FaultlineError as error:
        return _answer("refused", error.message)
    except (OSError, DBAPIError, MemoryError) as error:
        if isinstance(error, OSError) and is_full(error):
            return _answer("refused", NO_SPACE)
        _LOG.exception("unit %s", unit)
        raise TryAgain(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        # The same input would end the same way.
        _LOG.exception("unit %s", unit)
        return crashed(f"{type(error).__name__}: {error}")


def stage(name: str) -> Callable[[Work], dict[str, Any]]:
    """Import the function of a stage; torch comes with those that need it, no sooner."""
    module, _, function = STAGES[name].partition(":")
    found: Callable[[Work], dict[str, Any]] = getattr(importlib.import_module(module), function)
    return found


def crashed(message: str) -> Answer:
    """The answer of a unit for which no further try is worth it."""
    return _answer("crashed", message)


def _answer(outcome: Outcome, message: str = "", result: dict[str, Any] | None = None) -> Answer:
    return {"outcome": outcome, "message": message, "result": result or {}}


@contextmanager
def _killed_when_deaf(work: Work) -> Iterator[None]:
    """Kill this process when the stage computes on after its job was cancelled; the supervisor starts another."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(1.0):
            if work.stopped() and not finished.wait(GRACE_SECONDS):
                _LOG.warning("a cancelled stage did not stop within %s s; ending this worker", GRACE_SECONDS)
                os.kill(os.getpid(), signal.SIGKILL)

    thread = threading.Thread(target=watch, name="cancel-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
