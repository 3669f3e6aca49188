"""What workers read and write of data sets, model versions, runs and questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store.models import AuditRun, Checkpoint, Dataset, DatasetSplit, Finding, ModelVersion, Query
from app.store.models.base import utcnow

_T = TypeVar("_T")


class Audited(NamedTuple):
    """A run with all that it stands on."""

    run: AuditRun
    dataset: Dataset
    splits: list[DatasetSplit]
    version: ModelVersion
    checkpoints: list[Checkpoint]


def audited(session: Session, run_id: int) -> Audited:
    """Return a run with its data set, splits, model version and checkpoints.

    Raises:
        NotFound: one of them was deleted.
    """
    run = existing(session, AuditRun, run_id)
    dataset = existing(session, Dataset, run.dataset_id)
    version = existing(session, ModelVersion, run.model_version_id)
    return Audited(run, dataset, splits(session, dataset.id), version, checkpoints(session, version.id))


def second(session: Session, audited: Audited, dataset_id: int) -> Audited:
    """Return the same run on another data set.

    Raises:
        NotFound: that was deleted.
    """
    dataset = existing(session, Dataset, dataset_id)
    return audited._replace(dataset=dataset, splits=splits(session, dataset.id))


def splits(session: Session, dataset_id: int) -> list[DatasetSplit]:
    """Return a data set's splits in the order of their rows."""
    wanted = select(DatasetSplit).where(DatasetSplit.dataset_id == dataset_id)
    return list(session.scalars(wanted.order_by(DatasetSplit.start)))


def checkpoints(session: Session, version_id: int) -> list[Checkpoint]:
    """Return a version's checkpoints; the last one predicts."""
    wanted = select(Checkpoint).where(Checkpoint.version_id == version_id)
    return list(session.scalars(wanted.order_by(Checkpoint.position)))


def existing(session: Session, table: type[_T], id_: int) -> _T:
    """Return a row of `table`, such as `Dataset` or `Query`.

    Raises:
        NotFound: it was deleted.
    """
    found = session.get(table, id_)
    if found is None:
        raise NotFound(f"The {getattr(table, '__tablename__', 'row').replace('_', ' ')} {id_} is gone.")
    return found


def fill_dataset(session: Session, dataset_id: int, values: Mapping[str, Any], found: Sequence[DatasetSplit]) -> None:
    """Write what an import found: the columns in `values`, and the splits anew."""
    session.execute(update(Dataset).where(Dataset.id == dataset_id).values(**values))
    session.execute(delete(DatasetSplit).where(DatasetSplit.dataset_id == dataset_id))
    session.add_all(found)
    session.flush()


def fill_version(session: Session, version_id: int, values: Mapping[str, Any]) -> None:
    """Write what a check found."""
    session.execute(update(ModelVersion).where(ModelVersion.id == version_id).values(**values))


def fill_run(session: Session, run_id: int, attempt: int, values: Mapping[str, Any]) -> None:
    """Write a run's results, if this attempt still stands."""
    current = (AuditRun.id == run_id, AuditRun.attempt == attempt, AuditRun.status == "running")
    session.execute(update(AuditRun).where(*current).values(**values))


def replace_audit_findings(session: Session, run_id: int, findings: Sequence[Finding]) -> None:
    """Store the audit's own findings; those that are there already under their kind and key stay as they are.

    An attempt that was killed between its two writes repeats this one, and people may have judged a finding since.
    """
    known = select(Finding.kind, Finding.key).where(Finding.run_id == run_id, Finding.version == 1)
    there = {(kind, key) for kind, key in session.execute(known)}
    session.add_all([finding for finding in findings if (finding.kind, finding.key) not in there])
    session.flush()


def answer_query(session: Session, query_id: int, values: Mapping[str, Any]) -> None:
    """Write a question's answer, unless it was answered already."""
    open_ones = (Query.id == query_id, Query.status.in_(("queued", "running")))
    session.execute(update(Query).where(*open_ones).values(finished_at=utcnow(), **values))


def tested_p_values(session: Session, run_id: int) -> list[float]:
    """Return the p-values of a run's tests so far, in the order in which they count."""
    tests = select(Query.p_value).where(Query.run_id == run_id, Query.position.is_not(None))
    return [value for value in session.scalars(tests.order_by(Query.position)) if value is not None]


def next_position(session: Session, run_id: int) -> int:
    """Return the place of a run's next test, from 1; unique as long as the run's row is locked by this transaction."""
    session.execute(select(AuditRun.id).where(AuditRun.id == run_id).with_for_update())
    return (session.scalar(select(func.max(Query.position)).where(Query.run_id == run_id)) or 0) + 1
