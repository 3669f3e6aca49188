"""Models: the list, a model's versions, the upload form, and a version's page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from app.audits.pieces import Estimate
from app.errors import StorageFull, UserError
from app.services import register_model as service
from app.services.register_model import ModelRequest
from app.store.models import ModelVersion, Upload, VersionDecision
from app.store.repositories import datasets, decisions, registry
from app.store.session import transaction
from app.web.deps import Access, Looking, ProjectAccess, SentForm
from app.web.files import kept, receive
from app.web.forms import Form, text
from app.web.model_form import model_request
from app.web.model_record import AccuracyRow, DecisionRow, accuracies, history
from app.web.progress import progress_of
from app.web.scope import ProjectChoice, ProjectOption, scope, writable
from app.web.templating import fragment, render, url
from app.web.twins import Pages

pages = Pages("Models")
PAGE_ROWS = 30
NEW = "models/new.html"


class ModelRow(BaseModel):
    """One line of the list of models."""

    id: int
    name: str
    version: int | None = Field(description="Number of the newest version.")
    status: str = Field(description="Of the newest version: queued, running, succeeded or failed.")
    standing: str = Field(description="approved, retired, or empty before any decision.")
    accuracy: Estimate | None = Field(description="Of the newest version, by its newest finished audit.")
    measured_on: str = Field(description="Data set and split of that audit.")
    format: str
    classes: int
    created_at: datetime


class ModelsPage(BaseModel):
    """A page of models, newest first."""

    choice: ProjectChoice
    models: list[ModelRow]
    next: str


class SplitOption(BaseModel):
    """A split that a claim or a training can be about."""

    value: str = Field(description="<data set id>/<split>")
    text: str


class NewModelPage(BaseModel):
    """The form of a new model, or of a new version of one."""

    model_id: int | None
    name: str
    projects: list[ProjectOption]
    splits: list[SplitOption]
    form: Form


class VersionLine(BaseModel):
    """One version of a model."""

    number: int
    status: str
    standing: str = Field(description="approved, retired, or empty before any decision.")
    format: str
    architecture: str
    accuracy: Estimate | None = Field(description="Measured by its newest finished audit.")
    measured_on: str = Field(description="Data set and split of that audit.")
    created_at: datetime


class ModelPage(BaseModel):
    """A model and its versions."""

    id: int
    name: str
    description: str
    project_id: int
    project: str
    versions: list[VersionLine]
    accuracies: list[AccuracyRow] = Field(description="What finished audits measured, a row per version and data.")
    history: list[DecisionRow] = Field(description="Approvals and retirements, newest first.")
    may_add: bool


class Registered(BaseModel):
    """A version that was just registered."""

    model_id: int
    number: int
    version_id: int


class Checked(BaseModel):
    """What became of a request to cancel or repeat a version's check."""

    number: int
    status: str


class WantedModel(ModelRequest):
    """A new version whose files were uploaded in pieces before."""

    project_id: int
    uploads: list[str] = Field(description="Tokens of the uploads: the checkpoints in order, the last one predicts.")


@pages.page("/models", "models/list.html")
def list_models(access: ProjectAccess, project: int | None = None, before: int | None = None) -> ModelsPage:
    """Models, newest first."""
    choice = scope(access, project, "/models")
    found = registry.page(access.session, choice.ids, before=before, limit=PAGE_ROWS)
    newest = [entry.version for entry in found if entry.version]
    standing = decisions.standing(access.session, [version.id for version in newest])
    rows = [
        _row(model, version, standing.get(version.id), accuracies(access.session, [version]))
        if version
        else _row(model, None, None, [])
        for model, version in found
    ]
    return ModelsPage(
        choice=choice, models=rows, next=choice.path(before=rows[-1].id) if len(rows) == PAGE_ROWS else ""
    )


@pages.page("/models/new", NEW)
def new_model(access: ProjectAccess, project: int | None = None, model: int | None = None) -> NewModelPage:
    """The form of a new model, or of a new version of `model`."""
    return _new(access, project, model, Form())


@pages.html.post("/models/new")
def upload_model(request: Request, access: Looking, sent: SentForm) -> Response:
    """Register a model from the form; after an error, what was typed and sent is still there."""
    model_id = int(text(sent, "model_id")) if text(sent, "model_id").isdigit() else None
    project_id = _project_of(access, sent, model_id)
    files: list[Upload] = []
    try:
        receive(access, project_id, sent, "files", files)
        wanted = model_request(sent, model_id)
        with transaction() as session:
            version = service.register_model(session, project_id, access.user, wanted, service.stored(files))
    except (UserError, StorageFull) as error:
        form = Form.typed(sent, error)
        form.files["files"] = kept(files)
        return render(request, NEW, _new(access, project_id, model_id, form), error.status)
    return RedirectResponse(url(f"/models/{version.model_id}/versions/{version.number}"), 303)


@pages.api.post("/models", status_code=201)
def register(access: ProjectAccess, wanted: WantedModel) -> Registered:
    """Register a model version from uploads."""
    access.project(wanted.project_id, "analyst")
    files = service.stored([access.upload(token) for token in wanted.uploads])
    version = service.register_model(access.session, wanted.project_id, access.user, wanted, files)
    return Registered(model_id=version.model_id, number=version.number, version_id=version.id)


@pages.page("/models/{model_id}", "models/show.html")
def show_model(access: ProjectAccess, model_id: int) -> ModelPage:
    """A model and its versions."""
    model = access.model(model_id)
    versions = registry.versions(access.session, model.id)
    measured = accuracies(access.session, versions)
    standing = decisions.standing(access.session, [version.id for version in versions])
    return ModelPage(
        id=model.id,
        name=model.name,
        description=model.description,
        project_id=model.project_id,
        project=access.project(model.project_id).name,
        versions=[_line(version, standing.get(version.id), measured) for version in versions],
        accuracies=measured,
        history=history(access.session, versions),
        may_add=access.may(model.project_id, "analyst"),
    )


@pages.html.post("/models/{model_id}/versions/{number}/accept")
def accept(access: ProjectAccess, model_id: int, number: int) -> Response:
    """Take the preprocessing that the smoke run proposes, as a new version."""
    version = access.version(model_id, number, "analyst")
    made = service.accept_proposal(access.session, version, access.user)
    return RedirectResponse(url(f"/models/{model_id}/versions/{made.number}"), 303)


@pages.html.post("/models/{model_id}/versions/{number}/cancel")
def cancel_check(access: ProjectAccess, model_id: int, number: int) -> Response:
    """Cancel a version's check."""
    service.cancel(access.session, access.version(model_id, number, "analyst"), access.user)
    return RedirectResponse(url(f"/models/{model_id}/versions/{number}"), 303)


@pages.html.post("/models/{model_id}/versions/{number}/again")
def check_again(access: ProjectAccess, model_id: int, number: int) -> Response:
    """Check the files of a failed or cancelled version once more."""
    made = service.check_again(access.session, access.version(model_id, number, "analyst"), access.user)
    return RedirectResponse(url(f"/models/{model_id}/versions/{made.number}"), 303)


@pages.api.post("/models/{model_id}/versions/{number}/cancel")
def cancel(access: ProjectAccess, model_id: int, number: int) -> Checked:
    """Cancel a version's check; its files are kept."""
    version = access.version(model_id, number, "analyst")
    service.cancel(access.session, version, access.user)
    access.session.refresh(version)
    return Checked(number=version.number, status=version.status)


@pages.api.post("/models/{model_id}/versions/{number}/again", status_code=201)
def retry(access: ProjectAccess, model_id: int, number: int) -> Checked:
    """Check the files of a failed or cancelled version once more, as a new version."""
    made = service.check_again(access.session, access.version(model_id, number, "analyst"), access.user)
    return Checked(number=made.number, status=made.status)


@pages.html.get("/models/{model_id}/versions/{number}/progress")
def version_progress(access: ProjectAccess, model_id: int, number: int) -> Response:
    """The check's progress alone, for the page that polls it."""
    version = access.version(model_id, number)
    progress = progress_of(access.session, "model_version", version.id, version.status, version.error)
    path = f"/models/{model_id}/versions/{number}/progress"
    html = fragment("_partials/progress.html", progress=progress, poll=path)
    return HTMLResponse(html, headers={} if progress.active else {"HX-Refresh": "true"})


def _project_of(access: Access, sent: SentForm, model_id: int | None) -> int:
    if model_id is not None:
        return access.model(model_id, "analyst").project_id
    chosen = text(sent, "project_id")
    return access.project(int(chosen) if chosen.isdigit() else 0, "analyst").id


def _new(access: Access, project_id: int | None, model_id: int | None, form: Form) -> NewModelPage:
    model = access.model(model_id, "analyst") if model_id is not None else None
    options = writable(access, model.project_id if model else project_id)
    if model:
        options = [option for option in options if option.id == model.project_id]
    splits = [option for project in options for option in _splits(access, project)]
    return NewModelPage(model_id=model_id, name=model.name if model else "", projects=options, splits=splits, form=form)


def _splits(access: Access, project: ProjectOption) -> list[SplitOption]:
    return [
        SplitOption(value=f"{dataset.id}/{split.name}", text=f"{dataset.name} / {split.name}")
        for dataset in datasets.choices(access.session, project.id)
        for split in datasets.splits(access.session, dataset.id)
    ]


def _row(
    model: Any, version: ModelVersion | None, standing: VersionDecision | None, measured: list[AccuracyRow]
) -> ModelRow:
    return ModelRow(
        standing=standing.decision if standing else "",
        accuracy=measured[0].accuracy if measured else None,
        measured_on=f"{measured[0].dataset} / {measured[0].split}" if measured else "",
        id=model.id,
        name=model.name,
        version=version.number if version else None,
        status=version.status if version else "",
        format=version.format if version else "",
        classes=len(version.spec.get("classes", [])) if version else 0,
        created_at=version.created_at if version else model.created_at,
    )


def _line(version: ModelVersion, standing: VersionDecision | None, measured: list[AccuracyRow]) -> VersionLine:
    architecture = version.spec.get("architecture") or ""
    newest = next((row for row in measured if row.version == version.number), None)
    return VersionLine(
        standing=standing.decision if standing else "",
        accuracy=newest.accuracy if newest else None,
        measured_on=f"{newest.dataset} / {newest.split}" if newest else "",
        number=version.number,
        status=version.status,
        format=version.format,
        architecture=architecture if isinstance(architecture, str) else f"{len(architecture)} layers",
        created_at=version.created_at,
    )
