"""Submits work to the job engine; the web process and the command line speak to workers through this module only.

The engine is DBOS Transact, its tables beside ours. Work is submitted in the transaction that writes its row, so that
there is never one without the other. `workers.engine` is the other side.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from sqlalchemy import event
from sqlalchemy.orm import Session

from app.settings import get_settings
from app.store.repositories import jobs
from app.store.session import get_engine
from app.store.turns import migrating

# The engine and Alembic take longer to import than all the rest of the web process; they come at their first use.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from dbos import DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions

Workflow = Literal["import_dataset", "check_model", "audit_run", "answer_query"]

APPLICATION = "faultline"
PROTOCOL = "1"
"""Changes when workflows of an older release could not be taken up again by this one."""
SCHEMA = "dbos"
CONTROL, CPU, GPU, INTERACTIVE = "control", "cpu", "gpu", "interactive"
_PREFIXES: dict[str, str] = {
    "import_dataset": "dataset",
    "check_model": "model",
    "audit_run": "run",
    "answer_query": "query",
}


def enqueue(session: Session, workflow: Workflow, subject_id: int, *, priority: int = 10, attempt: int = 0) -> str:
    """Submit work on a row in the session's transaction and return the workflow's id.

    The same workflow, row and attempt is one job, however often it is submitted. Priority 1 goes first.
    """
    interactive = workflow == "answer_query"
    options: EnqueueOptions = {
        "workflow_name": workflow,
        "queue_name": INTERACTIVE if interactive else CONTROL,
        "workflow_id": workflow_id(workflow, subject_id, attempt),
        "priority": 1 if interactive else priority,
        "app_version": PROTOCOL,
        "application_name": APPLICATION,
    }
    client().enqueue_in_transaction(session, options, subject_id, attempt)
    return options["workflow_id"]


def workflow_id(workflow: Workflow, subject_id: int, attempt: int = 0) -> str:
    """The id under which the engine knows a job, such as `run-12-0`."""
    return f"{_PREFIXES[workflow]}-{subject_id}-{attempt}"


def cancel(session: Session, job: str) -> None:
    """Stop a workflow and its shards, once the session has committed the row's own change.

    The engine opens a connection of its own, and on SQLite it would wait for this very transaction; the row's status
    alone stops the work as well, should this process die in between.
    """

    @event.listens_for(session, "after_commit", once=True)
    def _tell_engine(_session: Session) -> None:
        client().cancel_workflow(job, cancel_children=True)


def status(session: Session, job: str) -> str | None:
    """The engine's word on a workflow (ENQUEUED, PENDING, SUCCESS, ERROR, CANCELLED …), None when it knows none."""
    return jobs.engine_status(session, job, SCHEMA)


def forget(days: float = 30.0, most: int = 500) -> int:
    """Delete the engine's memory of workflows that ended so long ago, with their shards; return how many went.

    Opens connections of its own: call it outside of any transaction.
    """
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    ended = client().list_workflows(
        status=["SUCCESS", "ERROR", "CANCELLED"],
        completed_before=before,
        has_parent=False,
        limit=most,
        load_input=False,
        load_output=False,
    )
    if ended:
        client().delete_workflows([workflow.workflow_id for workflow in ended], delete_children=True)
    return len(ended)


def prepare() -> None:
    """Bring our tables and the engine's to their newest schema; processes that start together take turns."""
    from dbos import DBOS

    from app.store.migrate import upgrade

    with migrating(get_settings().home):
        upgrade()
        DBOS.migrate(engine_url(), schema=SCHEMA)


def engine_url() -> str:
    """The database URL in the form that DBOS takes."""
    url = get_engine().url
    plain = url.set(drivername="postgresql") if url.get_backend_name() == "postgresql" else url
    return plain.render_as_string(hide_password=False)


def serializer() -> DBOSPortableJSONSerializer:
    """JSON, never pickle: what lies in the database is read by every process."""
    from dbos import DBOSPortableJSONSerializer

    return DBOSPortableJSONSerializer()


@lru_cache
def client() -> DBOSClient:
    """This process's connection to the engine, on our own database engine."""
    from dbos import DBOSClient

    return DBOSClient(
        system_database_engine=get_engine(),
        dbos_system_schema=SCHEMA,
        serializer=serializer(),
        application_name=APPLICATION,
        lazy=True,
    )
