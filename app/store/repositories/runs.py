"""Audit runs, and what of them waits for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import Session

from app.store.models import AuditRun, Dataset, Finding, Model, ModelVersion, Project, Stage, Verdict
from app.store.repositories.findings import CONFIRMED_FIRST, SUBJECT


class Named(NamedTuple):
    """A run with the names of what it is about."""

    run: AuditRun
    model: Model
    version: ModelVersion
    dataset: Dataset
    project: Project


class WaitingSlices(NamedTuple):
    """A run and the ids of its slices that wait for somebody, the worst first."""

    run: AuditRun
    ids: list[int]


def get(session: Session, run_id: int) -> AuditRun | None:
    """Return a run."""
    return session.get(AuditRun, run_id)


def add(session: Session, run: AuditRun) -> AuditRun:
    """Store a new run and give it its id."""
    session.add(run)
    session.flush()
    return run


def named(session: Session, run_id: int) -> Named | None:
    """Return a run with the names of what it is about."""
    row = session.execute(_named().where(AuditRun.id == run_id)).first()
    return Named(*row) if row else None


def page(
    session: Session, project_ids: Sequence[int], *, before: int | None = None, limit: int = 30, status: str = ""
) -> list[Named]:
    """Return runs, newest first; `before` is the id where the last page ended."""
    query = _named().where(AuditRun.project_id.in_(project_ids)).order_by(AuditRun.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRun.id < before)
    if status:
        query = query.where(AuditRun.status == status)
    return [Named(*row) for row in session.execute(query)]


def unreviewed(session: Session, project_ids: Sequence[int], limit: int = 8) -> list[WaitingSlices]:
    """Return the newest finished runs with confirmed slices on which there is no verdict."""
    judged = select(Verdict.id).where(Verdict.subject_type == SUBJECT, Verdict.subject_id == Finding.id).exists()
    wanted = (
        AuditRun.status == "succeeded",
        Finding.subject == "slice",
        Finding.evidence == "confirmed",
        Finding.retired.is_(False),
        ~judged,
    )
    return waiting_slices(session, project_ids, wanted, limit)


def waiting_slices(
    session: Session, project_ids: Sequence[int], wanted: Sequence[ColumnElement[bool]], limit: int
) -> list[WaitingSlices]:
    """Return the newest runs with findings that `wanted` picks, and these in the order of the list."""
    picked = select(AuditRun.id).join(Finding, Finding.run_id == AuditRun.id)
    picked = picked.where(AuditRun.project_id.in_(project_ids), *wanted).distinct()
    newest = session.scalars(picked.order_by(AuditRun.id.desc()).limit(limit)).all()
    query = select(AuditRun, Finding.id).join(Finding, Finding.run_id == AuditRun.id)
    query = query.where(AuditRun.id.in_(newest), *wanted).order_by(AuditRun.id.desc(), *CONFIRMED_FIRST)
    found: dict[int, WaitingSlices] = {}
    for run, finding_id in session.execute(query):
        found.setdefault(run.id, WaitingSlices(run, [])).ids.append(finding_id)
    return list(found.values())


def finished_like(
    session: Session, version_id: int, dataset_id: int, encoder: str, kinds: Sequence[str]
) -> AuditRun | None:
    """Return the newest finished run of a version on a data set with this encoder and exactly these kinds."""
    same = (AuditRun.model_version_id == version_id, AuditRun.dataset_id == dataset_id, AuditRun.encoder == encoder)
    query = select(AuditRun).where(*same, AuditRun.status == "succeeded").order_by(AuditRun.id.desc())
    return next((run for run in session.scalars(query) if set(run.kinds) == set(kinds)), None)


def on_same_data(session: Session, run: AuditRun, limit: int = 200) -> list[AuditRun]:
    """Return the other finished runs of its project on the same splits of the same data set, newest first."""
    same = (
        AuditRun.project_id == run.project_id,
        AuditRun.dataset_id == run.dataset_id,
        AuditRun.split == run.split,
        AuditRun.train_split == run.train_split,
        AuditRun.status == "succeeded",
        AuditRun.id != run.id,
    )
    return list(session.scalars(select(AuditRun).where(*same).order_by(AuditRun.id.desc()).limit(limit)))


def finished_on(session: Session, project_id: int, dataset_id: int, split: str, limit: int = 100) -> list[Named]:
    """Return a project's finished runs on a split, newest first."""
    on = (AuditRun.project_id == project_id, AuditRun.dataset_id == dataset_id, AuditRun.split == split)
    query = _named().where(*on, AuditRun.status == "succeeded").order_by(AuditRun.id.desc()).limit(limit)
    return [Named(*row) for row in session.execute(query)]


def _named() -> Select[AuditRun, Model, ModelVersion, Dataset, Project]:
    columns = select(AuditRun, Model, ModelVersion, Dataset, Project)
    joined = columns.join(ModelVersion, ModelVersion.id == AuditRun.model_version_id)
    joined = joined.join(Model, Model.id == ModelVersion.model_id).join(Dataset, Dataset.id == AuditRun.dataset_id)
    return joined.join(Project, Project.id == AuditRun.project_id)


def same_and_active(session: Session, run: AuditRun) -> AuditRun | None:
    """Return a run that waits or works on exactly what `run` asks for, so that a double click starts one."""
    query = select(AuditRun).where(
        AuditRun.status.in_(("queued", "running")),
        AuditRun.project_id == run.project_id,
        AuditRun.model_version_id == run.model_version_id,
        AuditRun.dataset_id == run.dataset_id,
        AuditRun.split == run.split,
        AuditRun.train_split == run.train_split,
        AuditRun.encoder == run.encoder,
        AuditRun.seed == run.seed,
    )
    return next((a for a in session.scalars(query) if a.kinds == run.kinds and a.params == run.params), None)


def computed_splits(session: Session, stage: str, dataset_id: int, *, version_id: int | None, encoder: str) -> set[str]:
    """Return the splits of a data set for which earlier runs finished `stage` with this model or encoder."""
    query = select(AuditRun.split, AuditRun.train_split).join(Stage, _stage_of_run(stage))
    query = query.where(AuditRun.dataset_id == dataset_id, Stage.status == "succeeded", Stage.done >= Stage.total)
    rows = session.execute(query.where(_of_what(version_id, encoder)))
    found = {name for pair in rows for name in pair if name}
    return found | _computed_beside(session, stage, f"{dataset_id}/", _of_what(version_id, encoder))


def _computed_beside(session: Session, stage: str, prefix: str, of_what: ColumnElement[bool]) -> set[str]:
    """Splits that earlier runs read as a second data set: some parameter of the kind names "<data set id>/<split>"."""
    line = and_(Stage.subject_type == "run", Stage.subject_id == AuditRun.id, Stage.name.startswith(f"{stage}@"))
    query = select(Stage.name, AuditRun.params).join(AuditRun, line)
    done = (Stage.status == "succeeded", Stage.done >= Stage.total, of_what)
    rows = session.execute(query.where(*done).order_by(Stage.id.desc()).limit(200))
    named = (value for name, params in rows for value in params.get(name.partition("@")[2], {}).values())
    return {value.removeprefix(prefix) for value in named if isinstance(value, str) and value.startswith(prefix)}


def rows_per_second(session: Session, stage: str, *, version_id: int | None, encoder: str) -> float | None:
    """Return the rate at which the newest run computed `stage` with this model or encoder; None when none did."""
    query = select(Stage).join(AuditRun, _stage_of_run(stage)).where(Stage.status == "succeeded")
    query = (
        query.where(_of_what(version_id, encoder)).where(Stage.done > Stage.cached).order_by(Stage.id.desc()).limit(1)
    )
    found = session.scalar(query)
    if found is None or found.started_at is None or found.finished_at is None:
        return None
    seconds = (found.finished_at - found.started_at).total_seconds()
    return (found.done - found.cached) / seconds if seconds > 0 else None


def _stage_of_run(stage: str) -> ColumnElement[bool]:
    return and_(Stage.subject_type == "run", Stage.subject_id == AuditRun.id, Stage.name == stage)


def _of_what(version_id: int | None, encoder: str) -> ColumnElement[bool]:
    return AuditRun.encoder == encoder if version_id is None else AuditRun.model_version_id == version_id
