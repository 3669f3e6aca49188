"""Data sets: the list, the import form, a data set's integrity report, classes and pictures."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from app.errors import StorageFull, UserError
from app.loaders.datasets.request import Columns, ImportOptions
from app.services import import_dataset as service
from app.services.import_dataset import DatasetRequest
from app.settings import get_settings
from app.store.models import Dataset, Upload
from app.store.repositories import datasets
from app.store.session import transaction
from app.web.deps import Access, Looking, ProjectAccess, SentForm
from app.web.files import kept, receive
from app.web.forms import Form, read_as, text
from app.web.progress import progress_of
from app.web.reader import thumbnail_path
from app.web.scope import ProjectChoice, ProjectOption, scope, writable
from app.web.templating import fragment, render, url
from app.web.twins import Pages

pages = Pages("Data sets")
PAGE_ROWS = 30
SHOWN_PICTURES = 6
NEW = "datasets/new.html"


class DatasetRow(BaseModel):
    """One line of the list of data sets."""

    id: int
    name: str
    status: str
    rows: int
    classes: int
    splits: list[str]
    pictures: list[str] = Field(description="Paths of thumbnails, spread over the rows.")
    created_at: datetime


class DatasetsPage(BaseModel):
    """A page of data sets, newest first."""

    choice: ProjectChoice
    datasets: list[DatasetRow]
    next: str


class NewDatasetPage(BaseModel):
    """The form of a new data set."""

    projects: list[ProjectOption]
    roots: list[str] = Field(description="Places on the server that imports may read.")
    form: Form


class Imported(BaseModel):
    """A data set that was just handed in."""

    id: int
    status: str


class WantedDataset(DatasetRequest):
    """A new data set, from uploads in pieces or from a place on the server."""

    project_id: int
    uploads: list[str] = Field(default_factory=list, description="Tokens of finished uploads.")


@pages.page("/datasets", "datasets/list.html")
def list_datasets(access: ProjectAccess, project: int | None = None, before: int | None = None) -> DatasetsPage:
    """Data sets, newest first."""
    choice = scope(access, project, "/datasets")
    found = datasets.page(access.session, choice.ids, before=before, limit=PAGE_ROWS)
    rows = [_row(access, dataset) for dataset in found]
    following = choice.path(before=rows[-1].id) if len(rows) == PAGE_ROWS else ""
    return DatasetsPage(choice=choice, datasets=rows, next=following)


@pages.page("/datasets/new", NEW)
def new_dataset(access: ProjectAccess, project: int | None = None) -> NewDatasetPage:
    """The form of a new data set."""
    return _new(access, project, Form())


@pages.html.post("/datasets/new")
def upload_dataset(request: Request, access: Looking, sent: SentForm) -> Response:
    """Hand a data set in from the form; after an error, what was typed and sent is still there."""
    chosen = text(sent, "project_id")
    project_id = access.project(int(chosen) if chosen.isdigit() else 0, "analyst").id
    files: list[Upload] = []
    try:
        receive(access, project_id, sent, "files", files)
        wanted = _wanted(sent)
        with transaction() as session:
            dataset = service.import_dataset(session, project_id, access.user, wanted, files)
    except (UserError, StorageFull) as error:
        form = Form.typed(sent, error)
        form.files["files"] = kept(files)
        return render(request, NEW, _new(access, project_id, form), error.status)
    return RedirectResponse(url(f"/datasets/{dataset.id}"), 303)


@pages.html.post("/datasets/{dataset_id}/again")
def import_again(access: ProjectAccess, dataset_id: int) -> Response:
    """Read the source of a failed or cancelled import once more."""
    copy = service.import_again(access.session, access.dataset(dataset_id, "analyst"), access.user)
    return RedirectResponse(url(f"/datasets/{copy.id}"), 303)


@pages.html.post("/datasets/{dataset_id}/cancel")
def cancel_import(access: ProjectAccess, dataset_id: int) -> Response:
    """Cancel an import."""
    service.cancel(access.session, access.dataset(dataset_id, "analyst"), access.user)
    return RedirectResponse(url(f"/datasets/{dataset_id}"), 303)


@pages.html.get("/datasets/{dataset_id}/progress")
def dataset_progress(access: ProjectAccess, dataset_id: int) -> Response:
    """The import's progress alone, for the page that polls it."""
    dataset = access.dataset(dataset_id)
    progress = progress_of(access.session, "dataset", dataset.id, dataset.status, dataset.error)
    html = fragment("_partials/progress.html", progress=progress, poll=f"/datasets/{dataset.id}/progress")
    return HTMLResponse(html, headers={} if progress.active else {"HX-Refresh": "true"})


@pages.api.post("/datasets", status_code=201)
def hand_in(access: ProjectAccess, wanted: WantedDataset) -> Imported:
    """Hand in a data set from finished uploads, or from a place on the server."""
    access.project(wanted.project_id, "analyst")
    found = [access.upload(token) for token in wanted.uploads]
    dataset = service.import_dataset(access.session, wanted.project_id, access.user, wanted, found)
    return Imported(id=dataset.id, status=dataset.status)


@pages.api.post("/datasets/{dataset_id}/cancel")
def cancel(access: ProjectAccess, dataset_id: int) -> Imported:
    """Cancel an import; its files are kept."""
    dataset = access.dataset(dataset_id, "analyst")
    service.cancel(access.session, dataset, access.user)
    access.session.refresh(dataset)
    return Imported(id=dataset.id, status=dataset.status)


@pages.api.post("/datasets/{dataset_id}/again", status_code=201)
def read_again(access: ProjectAccess, dataset_id: int) -> Imported:
    """Read the source of a failed or cancelled import once more, as a new data set."""
    copy = service.import_again(access.session, access.dataset(dataset_id, "analyst"), access.user)
    return Imported(id=copy.id, status=copy.status)


def _wanted(sent: SentForm) -> DatasetRequest:
    columns = {name: text(sent, f"column_{name}") for name in Columns.model_fields}
    classes = [line.strip() for line in text(sent, "classes").splitlines() if line.strip()]
    chosen = {name: text(sent, name) for name in ("format", "layout", "split") if text(sent, name)}
    options = read_as(ImportOptions, {**chosen, "columns": columns, "classes": classes})
    assert isinstance(options, ImportOptions)
    return DatasetRequest(name=text(sent, "name"), url=text(sent, "url"), options=options)


def _new(access: Access, project_id: int | None, form: Form) -> NewDatasetPage:
    return NewDatasetPage(projects=writable(access, project_id), roots=get_settings().import_roots, form=form)


def _row(access: Access, dataset: Dataset) -> DatasetRow:
    return DatasetRow(
        id=dataset.id,
        name=dataset.name,
        status=dataset.status,
        rows=dataset.rows,
        classes=len(dataset.classes),
        splits=[split.name for split in datasets.splits(access.session, dataset.id)],
        pictures=_pictures(dataset),
        created_at=dataset.created_at,
    )


def _pictures(dataset: Dataset) -> list[str]:
    if dataset.status != "succeeded" or not dataset.rows or not dataset.artifact_key:
        return []
    shown = min(SHOWN_PICTURES, dataset.rows)
    return [thumbnail_path(dataset.id, (2 * i + 1) * dataset.rows // (2 * shown)) for i in range(shown)]
