"""Takes data sets in: an upload, or a folder or URL below the roots that the administrator configured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.errors import Conflict, FieldError, Forbidden, UserError
from app.loaders.datasets.request import ImportOptions
from app.loaders.datasets.roots import locate
from app.services import queue
from app.settings import get_settings
from app.store.models import Dataset, Upload, User
from app.store.repositories import accounts, datasets, jobs
from app.store.repositories.jobs import Job


class DatasetRequest(BaseModel):
    """A new data set, as a form, a script or the command line states it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    url: str = Field("", description="A folder, file or fsspec URL that the server reads; empty for uploads.")
    options: ImportOptions = ImportOptions()


def import_dataset(
    session: Session, project_id: int, user: User | None, request: DatasetRequest, uploads: Sequence[Upload] = ()
) -> Dataset:
    """Store a data set, queued, and submit its import.

    Raises:
        FieldError: no name or one that is taken, no source, an upload that is not whole, or a place outside the
            configured roots.
    """
    name = _new_name(session, project_id, request.name)
    source = _source(request, uploads)
    options = request.options.model_dump(mode="json", exclude_defaults=True)
    dataset = Dataset(project_id=project_id, name=name, source={**source, "options": options})
    dataset.created_by = user.id if user else None
    datasets.add(session, dataset)
    queue.enqueue(session, "import_dataset", dataset.id)
    subject = ("dataset", dataset.id)
    accounts.log(session, dataset.created_by, "dataset_imported", project_id=project_id, subject=subject)
    return dataset


def import_again(session: Session, dataset: Dataset, user: User) -> Dataset:
    """Read the source of a failed or cancelled import once more, as a new data set of the same name if it is free.

    Raises:
        Conflict: it neither failed nor was cancelled.
    """
    if dataset.status not in datasets.GONE:
        raise Conflict("Only an import that failed or was cancelled can be tried again.")
    name = free_name(session, dataset.project_id, dataset.name)
    copy = Dataset(project_id=dataset.project_id, name=name, source=dataset.source, created_by=user.id)
    datasets.add(session, copy)
    queue.enqueue(session, "import_dataset", copy.id)
    accounts.log(session, user.id, "dataset_imported", project_id=copy.project_id, subject=("dataset", copy.id))
    return copy


def cancel(session: Session, dataset: Dataset, user: User) -> None:
    """Stop an import; its files are kept, so that it can be tried again.

    Raises:
        Conflict: it has ended already.
    """
    if not jobs.request_cancel(session, Job("dataset", dataset.id)):
        raise Conflict("This import has ended already; there is nothing to cancel.")
    queue.cancel(session, queue.workflow_id("import_dataset", dataset.id))
    subject = ("dataset", dataset.id)
    accounts.log(session, user.id, "import_cancelled", project_id=dataset.project_id, subject=subject)


def free_name(session: Session, project_id: int, name: str) -> str:
    """Return `name`, or the first of “name 2”, “name 3” … that no data set of the project holds."""
    names = chain([name], (f"{name[:190]} {number}" for number in count(2)))
    return next(free for free in names if not datasets.is_taken(session, project_id, free))


def _new_name(session: Session, project_id: int, text: str) -> str:
    name = text.strip()[:200]
    if not name:
        raise FieldError("name", "Give the data set a name.")
    free = free_name(session, project_id, name)
    if free != name:
        raise FieldError("name", f"There is a data set “{name}” already. Choose another name, such as “{free}”.")
    return name


def _source(request: DatasetRequest, uploads: Sequence[Upload]) -> dict[str, object]:
    if request.url.strip():
        return {"url": _allowed(request.url.strip())}
    if not uploads:
        raise FieldError("files", "Choose a file (zip, tar, CSV or Parquet), or name a folder on the server.")
    for upload in uploads:
        if not upload.sha256:
            here, whole = f"{upload.received:,}", f"{upload.size:,}"
            raise FieldError("files", f"“{upload.filename}” is not here yet: {here} of {whole} bytes. Send the rest.")
    return {"uploads": [upload.id for upload in uploads]}


def _allowed(place: str) -> str:
    try:
        locate(place, get_settings().import_roots)
    except (UserError, Forbidden) as error:
        raise FieldError("url", error.message) from error
    return place
