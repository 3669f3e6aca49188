"""Data sets, their splits, and uploads under way."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.models import Dataset, DatasetSplit, Upload

GONE = ("failed", "cancelled")


def get(session: Session, dataset_id: int) -> Dataset | None:
    """Return a data set."""
    return session.get(Dataset, dataset_id)


def named(session: Session, project_id: int, name: str) -> Sequence[Dataset]:
    """Return a project's data sets of this name, newest first; failed and cancelled imports only where all are."""
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.name == name)
    found = session.scalars(query.order_by(Dataset.id.desc())).all()
    return [dataset for dataset in found if dataset.status not in GONE] or found


def is_taken(session: Session, project_id: int, name: str) -> bool:
    """Whether a data set of the project holds this name; an import that failed or was cancelled holds none."""
    query = select(Dataset.id).where(Dataset.project_id == project_id, Dataset.name == name)
    return session.scalar(query.where(Dataset.status.not_in(GONE)).limit(1)) is not None


def page(
    session: Session, project_ids: Sequence[int], *, before: int | None = None, limit: int = 30
) -> Sequence[Dataset]:
    """Return data sets, newest first; `before` is the id where the last page ended."""
    query = select(Dataset).where(Dataset.project_id.in_(project_ids)).order_by(Dataset.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Dataset.id < before)
    return session.scalars(query).all()


def choices(session: Session, project_id: int) -> Sequence[Dataset]:
    """Return the project's data sets that came in whole, newest first."""
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.status == "succeeded")
    return session.scalars(query.order_by(Dataset.id.desc())).all()


def splits(session: Session, dataset_id: int) -> Sequence[DatasetSplit]:
    """Return a data set's splits in the order of its rows."""
    query = select(DatasetSplit).where(DatasetSplit.dataset_id == dataset_id)
    return session.scalars(query.order_by(DatasetSplit.start, DatasetSplit.id)).all()


def split(session: Session, dataset_id: int, name: str) -> DatasetSplit | None:
    """Return a data set's split by its name."""
    query = select(DatasetSplit).where(DatasetSplit.dataset_id == dataset_id, DatasetSplit.name == name)
    return session.scalar(query)


def add(session: Session, dataset: Dataset) -> Dataset:
    """Store a new data set and give it its id."""
    session.add(dataset)
    session.flush()
    return dataset


def get_upload(session: Session, token: str) -> Upload | None:
    """Return an upload by its token."""
    return session.scalar(select(Upload).where(Upload.token == token))


def known_upload(session: Session, token: str) -> Upload:
    """Return an upload that is known to be there."""
    return session.scalars(select(Upload).where(Upload.token == token)).one()


def add_upload(session: Session, upload: Upload) -> Upload:
    """Store a new upload and give it its id."""
    session.add(upload)
    session.flush()
    return upload
