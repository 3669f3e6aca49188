"""The runtime of DBOS Transact: queues, workflows, recovery. No other module of the workers knows the engine.

A flow is a workflow on the queue `control`; each of its units is a child workflow, with one retried step, on the
queue of its device. Ids follow from the run, so that a flow which is taken up again finds its children.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from dbos import DBOS, DBOSConfig, EnqueueOptions, WorkflowHandle
from dbos import error as dbos_error

from app.services import queue
from app.store.session import get_engine
from workers import flows
from workers.execute import TryAgain, crashed, execute
from workers.work import Answer, Unit

_LOG = logging.getLogger(__name__)
POLL_SECONDS = {queue.CONTROL: 0.3, queue.CPU: 0.15, queue.GPU: 0.15, queue.INTERACTIVE: 0.2}
CONCURRENT = {queue.CONTROL: 32, queue.CPU: 1, queue.GPU: 1, queue.INTERACTIVE: 2}
ROLE_QUEUES = {
    "control": [queue.CONTROL],
    "cpu": [queue.CPU, queue.INTERACTIVE],
    "gpu": [queue.GPU, queue.INTERACTIVE],
    "all": [queue.CONTROL, queue.CPU, queue.GPU, queue.INTERACTIVE],
    "recover": [],
}
KILLS = 4
"""A unit that kills its worker so often is set aside."""
TRIES = 4
_ANSWER_POLL = 0.1
_PRIORITY = 10
_device = "cpu"


@DBOS.workflow(name="import_dataset")
def import_dataset(dataset_id: int, attempt: int) -> None:
    """Workflow: read an upload into a data set."""
    flows.import_dataset(_Dbos(), dataset_id, attempt)


@DBOS.workflow(name="check_model")
def check_model(version_id: int, attempt: int) -> None:
    """Workflow: inspect and try a model."""
    flows.check_model(_Dbos(), version_id, attempt)


@DBOS.workflow(name="audit_run")
def audit_run(run_id: int, attempt: int) -> None:
    """Workflow: an audit."""
    flows.audit_run(_Dbos(), run_id, attempt)


@DBOS.workflow(name="answer_query", max_recovery_attempts=KILLS - 1)
def answer_query(query_id: int, attempt: int) -> None:
    """Workflow: an analyst's question; it runs where it was taken, without a child."""
    flows.answer_query(_Dbos(), query_id, attempt)


@DBOS.workflow(name="run_unit", max_recovery_attempts=KILLS - 1)
def run_unit(unit: Unit) -> Answer:
    """Child workflow: one unit of work."""
    return _settled(unit)


def _settled(unit: Unit) -> Answer:
    try:
        return _tried(unit)
    except dbos_error.DBOSMaxStepRetriesExceeded as error:
        return crashed(str(error.errors[-1]))


@DBOS.step(
    name="execute",
    retries_allowed=True,
    max_attempts=TRIES,
    interval_seconds=0.5,
    should_retry=lambda error: isinstance(error, TryAgain),
)
def _tried(unit: Unit) -> Answer:
    return execute(unit, _device)


class _Dbos:
    """`flows.Engine` within a workflow."""

    def step(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a recorded step."""
        return DBOS.run_step({"name": function.__name__}, function, *args)

    def submit(self, unit: Unit, device_queue: str, name: str) -> _Child:
        """Queue a child workflow."""
        options: EnqueueOptions = {
            "workflow_name": "run_unit",
            "queue_name": device_queue,
            "workflow_id": f"{DBOS.workflow_id}-{name}",
            "priority": _PRIORITY,
            "app_version": queue.PROTOCOL,
        }
        return _Child(DBOS.enqueue_workflow_with_options(options, unit))

    def run(self, unit: Unit) -> Answer:
        """Run a unit here and now."""
        return _settled(unit)


class _Child:
    """A submitted unit."""

    def __init__(self, handle: WorkflowHandle[Any]) -> None:
        self._handle = handle

    def answer(self) -> Answer:
        """Wait for the unit; one that killed its worker too often counts as crashed."""
        try:
            answer: Answer = self._handle.get_result(polling_interval_sec=_ANSWER_POLL)
        except dbos_error.DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded:
            return crashed(f"It killed its worker {KILLS} times.")
        except dbos_error.DBOSAwaitedWorkflowCancelledError:
            return {"outcome": "stopped", "message": "Cancelled.", "result": {}}
        return answer


def launch(role: str, executor_id: str, device: str) -> None:
    """Start the engine in this process: listen to the role's queues, take up what this executor left behind."""
    global _device  # noqa: PLW0603 - one process, one device
    _device = device
    config: DBOSConfig = {
        "name": queue.APPLICATION,
        "system_database_url": queue.engine_url(),
        "system_database_engine": get_engine(),
        "dbos_system_schema": queue.SCHEMA,
        "serializer": queue.serializer(),
        "executor_id": executor_id,
        "application_version": queue.PROTOCOL,
        "run_migrations": False,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.listen_queues(ROLE_QUEUES[role])
    DBOS.launch()
    for name, seconds in POLL_SECONDS.items():
        DBOS.register_queue(
            name,
            worker_concurrency=CONCURRENT[name],
            polling_interval_sec=seconds,
            on_conflict="always_update",
        )


def stop() -> None:
    """Leave the engine; what is under way is taken up at the next start."""
    DBOS.destroy(workflow_completion_timeout_sec=0)
